"""The one door to Ray: a cluster that is started or joined, actors placed on it, calls that always end.

Ray reads its environment while it is imported; so it is imported here inside functions, after that is set.
A request that cannot be placed is refused before anything is created. A call to an actor ends with its
result, with the exception that its method raised, or with one of the errors below.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import workers.ray_environment as environment
from workers import calls
from workers.calls import SLICE_S, ActorHung, ActorLost, NotYet, Pending, Stub
from workers.placement import CannotPlace, Need, Resources, no_room, obstacle, slots, this_machine
from workers.ray_environment import CannotReach

__all__ = [
    "ActorHung",
    "ActorLost",
    "CannotPlace",
    "CannotReach",
    "Cluster",
    "Need",
    "Pending",
    "Stub",
    "assigned_device",
    "start_cluster",
]


def start_cluster(
    address: str | None = None,
    *,
    needs: Sequence[Need],
    store_mb: int = 256,
    patience_s: float = 60.0,
    keep_logs: bool = False,
) -> Cluster:
    """Connects this process to Ray: what is initialised already, else what the address names, else its own.

    A cluster of our own listens on loopback only, has one CPU slot for each CPU that is needed, whatever the
    cores, and ends with this process, or with the thread that started it.

    Args:
        address: HOST:PORT of a node's cluster, "auto" for the one on this machine, "local" for our own;
            None: ``RAY_ADDRESS``, else "local".
        needs: all actors that will be asked for.
        store_mb: memory of the object store of our own cluster, in MiB.
        patience_s: how long actors may take until they are placed and made.
        keep_logs: keeps the folder of our own cluster.

    Raises:
        CannotReach: the cluster could not be started or joined.
        CannotPlace: the needs do not fit on it.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        cluster = Cluster(address, borrowed=True, patience_s=patience_s)
    elif address == "local":
        if (problem := obstacle(needs, this_machine(needs))) is not None:
            raise CannotPlace(problem)
        cluster = _start(needs, store_mb, patience_s, keep_logs)
    else:
        cluster = _join(address, patience_s)
    try:
        cluster.check(needs)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _ray() -> Any:
    """Ray, imported when its environment is settled; most of it has no types."""
    import ray

    return ray


def _start(needs: Sequence[Need], store_mb: int, patience_s: float, keep_logs: bool) -> Cluster:
    environment.settle(own=True)
    directory = environment.make_directory()
    cluster = Cluster("local", directory=directory, patience_s=patience_s, keep_logs=keep_logs)
    own = {"include_dashboard": False, "num_cpus": slots(needs), "_temp_dir": str(directory)}
    _connect(cluster, environment.cannot_start, **own, object_store_memory=store_mb * 2**20)
    environment.protect_token()
    return cluster


def _join(address: str, patience_s: float) -> Cluster:
    environment.settle(own=False)
    if (problem := environment.refusal(address)) is not None:
        raise environment.cannot_join(address, problem)
    cluster = Cluster(address, patience_s=patience_s)
    _connect(cluster, lambda problem: environment.cannot_join(address, problem))
    return cluster


def _connect(cluster: Cluster, explain: Callable[[Exception], CannotReach], **own: Any) -> None:
    try:
        with environment.undisturbed():
            _ray().init(address=cluster.address, log_to_driver=False, logging_level="ERROR", **own)
        _print_deaths(False)
    except BaseException as problem:
        cluster.close()
        if isinstance(problem, Exception):
            raise explain(problem) from problem
        raise


def _print_deaths(yes: bool) -> None:
    """Whether Ray prints every death on standard output, which belongs to the program; it has no setting."""
    _ray()._private.worker._worker_logs_enabled = yes


class Cluster:
    """A connection to Ray, and the actors that were created through it. Made by `start_cluster`."""

    def __init__(
        self,
        address: str,
        *,
        patience_s: float,
        borrowed: bool = False,
        directory: Path | None = None,
        keep_logs: bool = False,
    ) -> None:
        """
        Args:
            address: what was joined; "local" where it was started here.
            patience_s: how long actors may take until they are placed and made.
            borrowed: Ray was initialised by somebody else in this process, who will shut it down.
            directory: of the cluster that was started here.
            keep_logs: does not remove the folder.
        """
        self.address, self.patience_s, self.directory = address, patience_s, directory
        self._borrowed, self._keep_logs = borrowed, keep_logs
        self._actors: dict[Any, tuple[Need, Any]] = {}  # what each takes, and what it is made with
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self, needs: Sequence[Need]) -> None:
        """Raises `CannotPlace` where the nodes could not hold the needs even if they were empty."""
        if (problem := obstacle(needs, _nodes())) is not None:
            raise CannotPlace(problem)

    def create(
        self, made: type, *args: Any, need: Need, max_restarts: int = 0, near: bool = False
    ) -> list[Any]:
        """``need.count`` actors of one class, each made with the same arguments, all ready.

        Args:
            made: a plain class; its name is the title of the processes.
            max_restarts: how often Ray starts a dead one again, without its state; -1: always.
            near: on this process's own node, if there is room: that node must last anyway.

        Raises:
            CannotPlace: there is no room, or others did not make room within the patience.
            ActorHung: there is room, but a constructor did not end within the patience.
            ActorLost: a process died.
            Exception: what a constructor raised.
        """
        self.check([need])
        room = need.fit(_ray().available_resources()) == need.count
        options = {"num_cpus": need.cpus, "num_gpus": need.gpus, "max_restarts": max_restarts}
        if near:
            strategies, here = _ray().util.scheduling_strategies, _ray().get_runtime_context().get_node_id()
            options["scheduling_strategy"] = strategies.NodeAffinitySchedulingStrategy(here, soft=True)
        remote = (
            _ray().remote(calls.told(made, _arguments, _restarted)).options(**options, max_task_retries=0)
        )
        stored = _ray().put(args)
        # Ray forgets the arguments of a constructor that has run, and could not start the actor again
        # (issue 53727); a reference that it does not see is left to us to hold
        held = _ray().cloudpickle.dumps(stored)
        actors: list[Any] = []
        try:
            for _ in range(need.count):
                actors.append(remote.remote(held))
                self._actors[actors[-1]] = (need, stored)
            waiting = [actor.tell_failure.remote() for actor in actors]
            end_at = time.monotonic() + self.patience_s
            while waiting:
                left = end_at - time.monotonic()
                ready, waiting = _ray().wait(waiting, timeout=max(0.0, min(SLICE_S, left)))
                for ref in ready:
                    Pending(ref, need.role, "__init__", None, _fetch).result()
                if waiting and left <= 0:
                    raise self._late(need, len(waiting), room)
        except BaseException:
            self.release(actors)
            raise
        return actors

    def release(self, actors: Sequence[Any]) -> None:
        """Ends actors for good; those that are dead already are left alone."""
        for actor in list(actors):
            self._actors.pop(actor, None)
            with suppress(Exception):  # it is dead, or its cluster is
                _ray().kill(actor, no_restart=True)

    def stub(self, actor: Any, role: str, *, deadline_s: float | None = None) -> Stub:
        """The actor's methods as functions; a call waits for its result, at most ``deadline_s`` seconds."""
        return Stub(actor, role, deadline_s, _fetch)

    def _late(self, need: Need, missing: int, room: bool) -> Exception:
        """Why actors are not ready: nobody made room, or, where there was room, they are slow or hang."""
        if room:
            return ActorHung(need.role, "__init__", self.patience_s)
        free, there = _ray().available_resources(), _ray().cluster_resources()
        return CannotPlace(no_room(need, missing, self.patience_s, free, there))

    def gpus(self) -> float:
        """GPUs that neither our actors nor others hold."""
        ours = sum(need.gpus for need, _ in self._actors.values())
        total = sum(node.get("GPU", 0.0) for node in _nodes().values())
        return min(total - ours, _ray().available_resources().get("GPU", 0.0))

    def describe(self) -> dict[str, Any]:
        """Version, address, nodes and resources; fit for JSON."""
        return {
            "ray": _ray().__version__,
            "address": _ray().get_runtime_context().gcs_address,
            "started_here": self.directory is not None,
            "nodes": {name: dict(node) for name, node in _nodes().items()},
            "resources": _ray().cluster_resources(),
            "free": _ray().available_resources(),
        }

    def close(self) -> None:
        """Ends the actors made here, and the cluster if it was started here; any other goes on."""
        if not self._open:
            return
        self._open = False
        self.release(list(self._actors))
        if self._borrowed:
            return
        left = environment.processes_of(self.directory) if self.directory else []
        if (ray := sys.modules.get("ray")) is not None:
            ray.shutdown()
            _print_deaths(True)
        environment.end(left)
        if self.directory and not self._keep_logs:
            environment.remove(self.directory)


def assigned_device() -> str:
    """Inside an actor: "cuda" where Ray assigned a GPU to it, else "cpu", whatever else is visible."""
    return "cuda" if _ray().get_gpu_ids() else "cpu"


def _arguments(held: bytes) -> tuple[Any, ...]:
    return _ray().get(_ray().cloudpickle.loads(held))


def _restarted() -> bool:
    return _ray().get_runtime_context().was_current_actor_reconstructed


def _nodes() -> dict[str, Resources]:
    """CPUs and GPUs of each node that is alive, by its address; several may share one."""
    found: dict[str, Resources] = {}
    for node in _ray().nodes():
        if node["Alive"]:
            name = node["NodeManagerAddress"]
            name = f"{name} ({node['NodeID'][:6]})" if name in found else name
            found[name] = {kind: node["Resources"].get(kind, 0.0) for kind in ("CPU", "GPU")}
    return found


def _fetch(reference: Any, seconds: float, role: str) -> Any:
    """An answer, or what it failed with, in the words of `workers.calls`."""
    from ray.exceptions import GetTimeoutError, RayError, RayTaskError, UnserializableException

    try:
        return _ray().get(reference, timeout=seconds)
    except RayTaskError as error:  # first: it may be a timeout that was raised inside the actor
        failure = calls.original(error, RayTaskError, role)
    except UnserializableException as error:  # of a class that only its own process can make
        failure = RuntimeError(f"in the {role}: {calls.plain(error)}")
    except GetTimeoutError:
        failure = NotYet()
    except RayError as error:
        failure = ActorLost(role, calls.reason_of(error))
    raise failure
