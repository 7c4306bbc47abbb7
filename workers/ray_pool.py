"""Rollouts from Ray actors: units are pulled by whoever is free, and asked for again when one is lost.

The pool is handed actors that somebody else owns. It never starts one, and kills one only when it hangs,
so that its owner's restart budget applies. Weights travel by reference, once per content; a worker fetches
what it lacks. Since results merge in unit order, neither the number of workers nor their deaths show.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import ray
import torch
from ray.exceptions import (
    ActorUnavailableError,
    GetTimeoutError,
    ObjectLostError,
    RayActorError,
    RayError,
    RayTaskError,
)

from algorithms.bleu import References
from algorithms.models.base import Discriminator, Generator
from algorithms.types import Rollouts, RolloutSpec
from workers.dispatch import Limits, Units
from workers.failures import WeightsLost, WrongWeights
from workers.ledger import Ledger
from workers.members import PING_S, Call, Member, Members
from workers.messages import Description, DeviceClass, Failed, Result, Task, Wanted
from workers.philox import Path
from workers.pool import Request, blocks, merge
from workers.rollout import Networks
from workers.store import Parcels, Store
from workers.worker import RolloutWorker

__all__ = ["Limits", "RayPool", "RayRolloutWorker"]

Handle: TypeAlias = Any
"""A Ray actor of ``RayRolloutWorker``."""

SLICE_S = 1.0
"""The longest wait that nothing interrupts."""


class RayRolloutWorker(RolloutWorker):
    """The actor: a rollout worker that fetches by reference what a task wants and it lacks."""

    def __init__(self, networks: Networks, memory: int) -> None:
        # at run time, since that module makes actors of this class
        from workers.cluster import assigned_device

        super().__init__(networks, memory, assigned_device())
        self.node = ray.get_runtime_context().get_node_id()

    def fetch_and_run(self, task: Task, parcels: Parcels, fetch_s: float) -> Result | Failed:
        """One unit, weights first; exceptions are data.

        Args:
            fetch_s: seconds that fetching may take.
        """
        try:
            self._fetch(task.wanted, parcels, fetch_s)
        except (ObjectLostError, GetTimeoutError) as error:
            return self.failed(WeightsLost(f"weights were not to be had within {fetch_s:g} s: {error}"))
        except Exception as error:
            return self.failed(error)
        return self.attempt(task)

    def _fetch(self, wanted: Wanted, parcels: Parcels, fetch_s: float) -> None:
        missing = self.missing(wanted)
        if not missing:
            return
        started = time.perf_counter()
        fetched = ray.get([parcels[name][0] for name in missing], timeout=fetch_s)
        self.spent_fetching(time.perf_counter() - started)
        for name, content in zip(missing, fetched, strict=True):
            if name == "references":
                assert wanted.references is not None
                self.refer(wanted.references, content)
            else:
                self.load(name, content)


class RayPool:
    """A pool over actors, for one thread of one process.

    Attributes:
        limits: what it puts up with.
    """

    def __init__(
        self, workers: Sequence[Handle], *, unit: int, sample_unit: int, limits: Limits | None = None
    ) -> None:
        """
        Args:
            workers: handles of ``RayRolloutWorker`` actors; their owner keeps, restarts and ends them.
            unit: sequences per unit where prefixes are completed.
            sample_unit: sequences per unit where they are only sampled.
        """
        self.limits = limits or Limits()
        self._unit, self._sample_unit = unit, sample_unit
        self._ledger = Ledger(len(workers))
        self._members = Members(workers, self.limits, self._ledger)
        self._callers: dict[Any, Member] = {}  # whose answer a reference will be, pings included
        self._store = Store(ray.put)
        self._device = torch.device("cpu")
        self._request = self._weights_lost = 0
        self._ping()

    @property
    def classes(self) -> frozenset[DeviceClass]:
        """The device classes of the workers that have answered so far."""
        return frozenset(self._members.classes)

    @property
    def exact(self) -> bool:
        """Whether all workers that have answered compute equal bits."""
        return len(self._members.classes) <= 1

    def publish(self, generator: Generator, discriminator: Discriminator, policy: Generator | None) -> None:
        started = time.perf_counter()
        self._device = next(generator.parameters()).device
        tags, size = self._store.publish(generator, discriminator, policy)
        self._ledger.published(time.perf_counter() - started, tags, size)

    def refer(self, references: References | None) -> None:
        self._store.refer(references)

    def collect(self, spec: RolloutSpec, request: Request, path: Path) -> Rollouts:
        """The rollouts of a request, on the device of the published generator.

        Raises:
            WrongWeights, WeightsLost, UnitFailed, WorkersLost: see ``workers.failures``.
            ValueError: before the first publication.
        """
        wanted = self._store.wanted()
        size = self._unit if spec.completions else self._sample_unit
        units = Units(blocks(request, spec.samples, size), path, self.limits)
        self._request += 1
        self._weights_lost = 0
        with self._ledger.collecting():
            self._members.begin()
            try:
                while not units.finished:
                    self._feed(units, spec, request, wanted)
                    self._receive(units, wanted)
                    self._watch(units)
            finally:
                self._ledger.retries += units.retries
            return merge([result.rollouts(self._device) for result in units.results])

    def report(self) -> dict[str, float]:
        return self._ledger.report()

    def close(self) -> None:
        """Lets go of everything; the workers are their owner's."""
        self._callers.clear()
        self._store.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _feed(self, units: Units, spec: RolloutSpec, request: Request, wanted: Wanted) -> None:
        """Gives waiting units to workers with room, one each before anyone gets a second."""
        ready = self._members.ready()
        alive = [member.number for member in ready]
        parcels = self._store.parcels()
        for depth in range(self.limits.in_flight):
            for member in ready:
                unit = units.take(member.number, alive) if len(member.calls) <= depth else None
                if unit is None:
                    continue
                task = Task.of(units.blocks[unit], spec, units.path, request.temperature, wanted)
                if not member.calls:
                    member.since = time.monotonic()
                ref = member.handle.fetch_and_run.remote(task, parcels, self.limits.unit_deadline_s / 2)
                member.calls[ref] = Call(self._request, unit, self._store.edition)
                self._callers[ref] = member

    def _receive(self, units: Units, wanted: Wanted) -> None:
        """Waits for one answer, but no longer than a slice."""
        if not self._callers:
            time.sleep(PING_S)
            return
        answered, _ = ray.wait(
            list(self._callers), num_returns=1, timeout=PING_S if self._members.silent() else SLICE_S
        )
        for ref in answered:
            member, answer = self._callers[ref], _get(ref)
            if isinstance(answer, GetTimeoutError):
                continue  # its content is still on its way
            del self._callers[ref]
            if ref == member.ping:
                self._greet(member, answer)
            elif isinstance(answer, RayActorError) and not isinstance(answer, RayTaskError):
                self._lose(member, units, _brief(answer))
            else:
                call = member.calls.pop(ref)
                member.since = time.monotonic()
                if call.request == self._request:  # else nobody waits for it any more
                    self._settle(member, call, answer, units, wanted)

    def _settle(self, member: Member, call: Call, answer: object, units: Units, wanted: Wanted) -> None:
        """What an answer means for its unit."""
        if isinstance(answer, Result | Failed):
            self._members.ran(member, answer.node, answer.pid, idle=True)
        if isinstance(answer, Result) and answer.used == wanted:
            self._ledger.unit(answer.compute_s, answer.load_s, answer.used.tags())
            units.done(call.unit, answer)
        elif isinstance(answer, Result):
            self._ledger.dropped += 1
            units.lost(call.unit, f"its result was made with {answer.used}, wanted was {wanted}")
        elif isinstance(answer, Failed) and isinstance(answer.error, WrongWeights):
            self._ledger.mismatches += 1
            raise answer.error
        elif isinstance(answer, Failed) and isinstance(answer.error, WeightsLost):
            self._put_again(call, answer.error)
            units.again(call.unit)
        elif isinstance(answer, Failed | RayTaskError):
            units.raised(call.unit, member.number, answer.text if isinstance(answer, Failed) else str(answer))
        else:
            units.lost(call.unit, _brief(answer))

    def _put_again(self, call: Call, error: WeightsLost) -> None:
        if call.edition < self._store.edition:
            return  # that was noticed by another unit
        self._weights_lost += 1
        if self._weights_lost > self.limits.data_tries:
            raise WeightsLost(
                f"the published weights were lost {self._weights_lost} times in one request, last: {error}. "
                "Look at the nodes and at the size of the object store, then resume"
            )
        self._store.put_again()

    def _greet(self, member: Member, answer: object) -> None:
        """The answer of a worker that was asked whether it lives."""
        if isinstance(answer, Description):
            self._members.answered(member, answer)
        else:  # being restarted, or its node is silent: it may come back; any other answer is its last
            back = isinstance(answer, ActorUnavailableError | ObjectLostError)
            self._members.refused(member, _brief(answer), gone=not back)

    def _lose(self, member: Member, units: Units, reason: str, held: float | None = None) -> None:
        """A worker is dead, silent, or (``held`` for so many seconds) hung: its units go elsewhere."""
        calls = self._members.lost(member, reason)
        for ref, _ in calls:
            self._callers.pop(ref, None)
        for place, (_, call) in reversed(list(enumerate(calls))):  # to the front, the first one last
            if call.request != self._request:
                continue
            if place:
                units.again(call.unit)
            elif held is not None:
                units.hung(call.unit, held)
            else:
                units.lost(call.unit, reason)

    def _watch(self, units: Units) -> None:
        """Deadlines, pings, and whether enough workers are left."""
        for member, held in self._members.hanging():
            ray.kill(member.handle, no_restart=False)
            self._lose(member, units, f"held a unit for {held:.0f} s and was killed", held)
        self._ping()
        self._members.check()

    def _ping(self) -> None:
        """Asks workers that are not ready whether they live."""
        now = time.monotonic()
        for member in self._members.silent():
            if now >= member.ping_at:
                member.ping = member.handle.describe.remote()
                self._callers[member.ping] = member


def _get(ref: Any) -> object:
    """The answer behind a reference that is ready; what Ray raises is an answer, too."""
    try:
        return ray.get(ref, timeout=SLICE_S)
    except RayError as error:
        return error


def _brief(answer: object) -> str:
    """What went wrong in a line: the first one of Ray's message, and the last, where a traceback ends."""
    lines = [line.strip() for line in str(answer).splitlines() if line.strip()]
    return f"{type(answer).__name__}: {' ... '.join(dict.fromkeys([*lines[:1], *lines[-1:]]))}"
