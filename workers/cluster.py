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
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import workers.ray_environment as environment
from workers import calls, placement
from workers.calls import SLICE_S, ActorHung, ActorLost, NotYet, Pending, Starting, Stub
from workers.placement import CannotPlace, Need, Resources, fits_now, no_room, obstacle
from workers.ray_environment import CannotReach


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
    node = placement.own_node(needs, store_mb, environment.free_memory())
    environment.settle(own=True)
    environment.remove_abandoned()
    directory = environment.make_directory(keep=keep_logs)
    cluster = Cluster("local", directory=directory, patience_s=patience_s, keep_logs=keep_logs)
    own = {"num_cpus": node["CPU"], "num_gpus": node["GPU"], "object_store_memory": store_mb * 2**20}
    _connect(cluster, environment.cannot_start, include_dashboard=False, _temp_dir=str(directory), **own)
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
        with environment.undisturbed(), environment.apart(_ray()._private.services):
            _ray().init(address=cluster.address, log_to_driver=False, logging_level="ERROR", **own)
        environment.print_deaths(_ray()._private.worker, False)
    except BaseException as problem:
        cluster.close()
        if isinstance(problem, Exception):
            raise explain(problem) from problem
        raise


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
        """``borrowed``: Ray was initialised by somebody else in this process, who will shut it down."""
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
        """``need.count`` actors of one class, all ready: ``begin`` and ``ready``, see there."""
        return self.ready(self.begin(made, *args, need=need, max_restarts=max_restarts, near=near))

    def begin(
        self, made: type, *args: Any, need: Need, max_restarts: int = 0, near: bool = False
    ) -> Starting:
        """Has ``need.count`` actors of one class made, each with the same arguments; waits for none of them.

        Args:
            made: a plain class; its name is the title of the processes.
            max_restarts: how often Ray starts a dead one again, without its state; -1: always.
            near: on this process's own node, if there is room now: that node must last anyway.

        Raises:
            CannotPlace: there will never be room.
        """
        self.check([need])
        waiting = [replace(one, count=1) for actor, (one, _) in self._actors.items() if not _placed(actor)]
        room = fits_now([*waiting, need], _ray()._private.state.available_resources_per_node())
        options = {"num_cpus": need.cpus, "num_gpus": need.gpus, "max_restarts": max_restarts}
        if near:
            on, here = _ray().util.scheduling_strategies, _ray().get_runtime_context().get_node_id()
            # without the last it would wait for a busy node, if need be for ever
            affinity = on.NodeAffinitySchedulingStrategy(here, soft=True, _spill_on_unavailable=True)
            options["scheduling_strategy"] = affinity
        told = calls.told(made, _arguments, _restarted)
        remote = _ray().remote(told).options(**options, max_task_retries=0)
        stored = _ray().put(args)
        # Ray forgets the arguments of a constructor that has run, and could not start the actor again
        # (issue 53727); a reference that it does not see is left to us to hold
        held = _ray().cloudpickle.dumps(stored)
        actors = [remote.remote(held) for _ in range(need.count)]
        self._actors.update((actor, (need, stored)) for actor in actors)
        return Starting(need, actors, [actor.tell_failure.remote() for actor in actors], room)

    def ready(self, starting: Starting) -> list[Any]:
        """Waits for actors that were begun, at most as long as the patience from now on.

        Raises:
            CannotPlace: others did not make room.
            ActorHung: there is room, but a constructor did not end.
            ActorLost: a process died.
            Exception: what a constructor raised.
        """
        need, waiting, end_at = starting.need, starting.answers, time.monotonic() + self.patience_s
        try:
            while waiting:
                left = end_at - time.monotonic()
                ready, waiting = _ray().wait(waiting, timeout=max(0.0, min(SLICE_S, left)))
                for ref in ready:
                    Pending(ref, need.role, "__init__", None, _fetch).result()
                if waiting and left <= 0:
                    raise self._late(starting)
        except BaseException:
            self.release(starting.actors)
            raise
        return starting.actors

    def release(self, actors: Sequence[Any]) -> None:
        """Ends actors for good; those that are dead already are left alone."""
        for actor in list(actors):
            self._actors.pop(actor, None)
            with suppress(Exception):  # it is dead, or its cluster is
                _ray().kill(actor, no_restart=True)

    def stub(self, actor: Any, role: str, *, deadline_s: float | None = None) -> Stub:
        """The actor's methods as functions; a call waits for its result, at most ``deadline_s`` seconds."""
        return Stub(actor, role, deadline_s, _fetch)

    def _late(self, starting: Starting) -> Exception:
        """Why actors are not ready: nobody made room, or, where there was room, they are slow or hang."""
        need, missing = starting.need, sum(not _placed(actor) for actor in starting.actors)
        if starting.room or not missing:
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
            environment.print_deaths(ray._private.worker, True)
        environment.end(left)
        if self.directory and not self._keep_logs:
            environment.remove(self.directory)


def assigned_device() -> str:
    """Inside an actor: "cuda" where Ray assigned a GPU to it, else "cpu", whatever else is visible.

    Raises:
        CannotPlace: it assigned one that PyTorch cannot use there.
    """
    return placement.device(_ray().get_gpu_ids(), _ray().util.get_node_ip_address())


def _placed(actor: Any) -> bool:
    """Whether an actor has, or had, a process; until then it waits for room."""
    told = _ray()._private.state.actors(actor._actor_id.hex())
    return bool(told and (told["State"] == "DEAD" or told["Address"]["Port"]))


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
