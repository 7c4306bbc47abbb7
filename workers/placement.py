"""Whether actors fit on the nodes of a cluster, and in words where they do not. No cluster here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

Resources: TypeAlias = Mapping[str, float]
"""Of a node or of a cluster: {"CPU": 8.0, "GPU": 1.0}; what is missing is zero."""

ACTOR_MB: Final = 250
"""Of an actor, in MiB, for its memory before it computes: measured 200 with torch imported."""
RAY_MB: Final = 400
"""Of Ray's own processes on a node, without the object store."""
_ROUNDING: Final = 1e-6  # fractions of a GPU are sums of floats


class CannotPlace(Exception):
    """The cluster does not hold what was asked for, or did not make room for it in time."""


@dataclass(frozen=True, slots=True)
class Need:
    """Actors of one role, and what each of them takes.

    Attributes:
        role: what they are, in the singular ("rollout worker").
        count: how many.
        cpus, gpus: of each; fractions share a device.
        setting: the setting that asks for the GPUs ("learner.gpus"), named where there is none.
    """

    role: str
    count: int = 1
    cpus: float = 1
    gpus: float = 0
    setting: str = ""

    def fit(self, free: Resources) -> int:
        """How many of them, at most ``count``, so much holds."""
        each = ((self.cpus, free.get("CPU", 0.0)), (self.gpus, free.get("GPU", 0.0)))
        return min([self.count, *(math.floor(have / one + _ROUNDING) for one, have in each if one)])

    def named(self, count: int) -> str:
        """So many of them, in words."""
        return f"{count} {self.role}{'s' * (count != 1)}"

    def __str__(self) -> str:
        return f"{self.named(self.count)} of {amount(self.cpus, self.gpus)}"


def amount(cpus: float, gpus: float) -> str:
    """In words; GPUs only where there are some."""
    return f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")


def slots(needs: Sequence[Need]) -> int:
    """CPUs of a cluster that is made for the needs: places for processes, not cores."""
    return max(1, math.ceil(sum(need.count * need.cpus for need in needs) - _ROUNDING))


def this_machine(needs: Sequence[Need]) -> dict[str, Resources]:
    """The one node of a cluster that is made for the needs; its GPUs are those that torch can use."""
    import torch  # takes a second

    return {"this machine": {"CPU": slots(needs), "GPU": torch.cuda.device_count()}}


def device(assigned: Sequence[Any], node: str) -> str:
    """Where to compute with the GPUs that were assigned to this process: "cuda", or "cpu" without one.

    Args:
        node: this machine, as an error names it.

    Raises:
        CannotPlace: a GPU was assigned that PyTorch cannot use here; on the CPU it would only be held idle.
    """
    if not assigned:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise CannotPlace(
            f"Ray assigned a GPU on node {node}, but PyTorch {torch.__version__} there cannot use it: "
            "install a CUDA build there, or set learner.gpus=0 and rollout.worker_gpus=0"
        )
    return "cuda"


def too_much_memory(needs: Sequence[Need], store_mb: int, free_mb: float) -> str | None:
    """Why this machine's memory does not hold a cluster made for the needs; None where it does.

    The slots of such a cluster are made to fit; this is what limits their number.

    Args:
        store_mb, free_mb: the object store, and what is free on this machine, in MiB.
    """
    count, base = sum(need.count for need in needs), store_mb + RAY_MB
    if not count or base + count * ACTOR_MB <= free_mb:
        return None
    most = max(needs, key=lambda need: need.count)
    fit = max(0, math.floor((free_mb - base) / ACTOR_MB) - (count - most.count))
    asked = " and ".join(need.named(need.count) for need in needs)
    return (
        f"cannot be placed: {asked} take about {ACTOR_MB} MiB of memory each, with {base} MiB for Ray and "
        f"its object store {base + count * ACTOR_MB} MiB in all; this machine has {free_mb:.0f} MiB free: "
        f"room for at most {most.named(fit)}; ask for fewer, or train in one process: --workers 0"
    )


def own_node(needs: Sequence[Need], store_mb: int, free_mb: float) -> Resources:
    """The node of a cluster that this machine is to hold for the needs; memory is looked at first.

    Raises:
        CannotPlace: it cannot hold them.
    """
    if (problem := too_much_memory(needs, store_mb, free_mb)) is not None:
        raise CannotPlace(problem)
    nodes = this_machine(needs)
    if (problem := obstacle(needs, nodes)) is not None:
        raise CannotPlace(problem)
    (node,) = nodes.values()
    return node


def fits_now(needs: Sequence[Need], free: Mapping[str, Resources]) -> bool:
    """Whether all find room in what is free on each node, placed one after the other."""
    gpus = sum(node.get("GPU", 0.0) for node in free.values())
    return next(_advice(needs, free, gpus), None) is None


def obstacle(needs: Sequence[Need], nodes: Mapping[str, Resources]) -> str | None:
    """Why the needs could not be placed even if the nodes were empty; None where that is not certain.

    Certain is what no order of placing could change: a role that alone does not fit, or sums that do not.

    Args:
        nodes: the resources of each node, by its name.
    """
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes.values()) for kind in ("CPU", "GPU"))
    asked_cpus, asked_gpus = sum(n.count * n.cpus for n in needs), sum(n.count * n.gpus for n in needs)
    alone = all(sum(need.fit(node) for node in nodes.values()) >= need.count for need in needs)
    if alone and asked_cpus <= cpus + _ROUNDING and asked_gpus <= gpus + _ROUNDING:
        return None
    there = amount(cpus, gpus)
    if len(nodes) > 1:
        each = (f"{name}: {amount(n.get('CPU', 0.0), n.get('GPU', 0.0))}" for name, n in nodes.items())
        there += f" on {len(nodes)} nodes ({'; '.join(each)})"
    return (
        f"cannot be placed: asked for {', '.join(map(str, needs))}, {amount(asked_cpus, asked_gpus)} in all; "
        f"there is {there}; {'; '.join(_advice(needs, nodes, gpus))}"
    )


def _advice(needs: Sequence[Need], nodes: Mapping[str, Resources], gpus: float) -> Iterator[str]:
    """What would fit, role by role, the earlier ones placed first."""
    left = [{kind: node.get(kind, 0.0) for kind in ("CPU", "GPU")} for node in nodes.values()]
    for need in needs:
        if need.gpus and not gpus:
            instead = f": set {need.setting}=0" if need.setting else ""
            yield f"there is no GPU for the {need.role}{instead}"
            need = replace(need, gpus=0)
        placed = 0
        for node in left:
            here = min(need.fit(node), need.count - placed)
            node["CPU"] -= here * need.cpus
            node["GPU"] -= here * need.gpus
            placed += here
        if placed < need.count:
            yield f"room for at most {need.named(placed)} of {amount(need.cpus, need.gpus)}"


def no_room(need: Need, missing: int, waited_s: float, free: Resources, there: Resources) -> str:
    """Who holds what, when actors that would fit have waited in vain.

    Args:
        missing: how many still wait.
        free, there: of the whole cluster, now and in all.
    """
    kinds = [kind for kind, each in (("CPU", need.cpus), ("GPU", need.gpus)) if each]
    held = ", ".join(f"{free.get(kind, 0.0):g} of {there.get(kind, 0.0):g} {kind}" for kind in kinds)
    return (
        f"cannot be placed yet: asked for {need}, and after {waited_s:.0f} s {missing} of {need.count} still "
        f"wait; free are {held}, others hold the rest: wait for them (cluster.patience_s), or ask for fewer"
    )
