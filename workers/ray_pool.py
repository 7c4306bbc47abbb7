"""Rollouts from Ray actors: units are pulled by whoever is free, and asked for again when one is lost.

The pool is handed actors that somebody else owns. It never starts one, and kills one only when it hangs,
so that its owner's restart budget applies. Weights travel by reference, once per content; a worker fetches
what it lacks. Since results merge in unit order, neither the number of workers nor their deaths show.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeAlias

import ray
import torch
from ray import exceptions

from algorithms.bleu import References
from algorithms.models.base import Discriminator, Generator
from algorithms.types import Rollouts, RolloutSpec
from workers.dispatch import Limits, Units
from workers.failures import PoolLost, brief
from workers.ledger import Ledger
from workers.members import PING_S, Call, Member, Members
from workers.messages import Description, Task, Wanted
from workers.philox import Path
from workers.pool import Request, blocks, merge
from workers.settlement import Settlement
from workers.store import Store

Handle: TypeAlias = Any
"""A Ray actor of ``RayRolloutWorker``."""

SLICE_S = 1.0
"""The longest wait for content that is on its way."""

WATCH_S = 0.2
"""Between two looks at all workers."""

ADVICE: dict[type[Exception], str] = {
    exceptions.ObjectStoreFullError: "Its store is full: resume with a larger cluster.store_mb",
    exceptions.OutOfDiskError: "Make room on the disk that Ray moves objects to",
}
OTHER_ADVICE = "Look at this machine's memory and at Ray's logs"


class RayPool:
    """A pool over actors, for one thread of one process.

    Attributes:
        limits: what it puts up with.
    """

    def __init__(
        self,
        workers: Sequence[Handle],
        *,
        unit: int,
        sample_unit: int,
        limits: Limits | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Args:
            workers: handles of ``RayRolloutWorker`` actors; their owner keeps, restarts and ends them.
            unit: sequences per unit where prefixes are completed.
            sample_unit: sequences per unit where they are only sampled.
            device: where networks learn, until some are published.
        """
        self.limits = limits or Limits()
        self._unit, self._sample_unit = unit, sample_unit
        self._ledger = Ledger(len(workers))
        self._members = Members(workers, self.limits, self._ledger)
        self._callers: dict[Any, Member] = {}  # whose answer a reference will be, pings included
        self._store = Store(ray.put)
        self._device = torch.device(device)
        self._request, self._watched = 0, 0.0
        with _served("workers were asked who they are"):
            self._ping()

    @property
    def classes(self) -> tuple[str, ...]:
        """Of all workers that have answered, and of this process where both compute on a CPU."""
        return tuple(sorted(map(str, self._members.classes(self._device))))

    @property
    def exact(self) -> bool:
        """Whether ``classes`` is one; once it is not, it stays so."""
        return len(self._members.classes(self._device)) <= 1

    @property
    def fast_bf16(self) -> bool:
        return all(one.fast_bf16 for one in self._members.classes(self._device))

    def add(self, worker: Handle) -> None:
        """One worker more, between two requests."""
        with _served("a worker was added"):
            self._members.add(worker)
            self._ping()

    def gone(self) -> list[int]:
        """Places, in the order in which they were given, of workers that will never answer again."""
        return self._members.gone()

    def greet(self) -> None:
        """Waits until every worker has answered once or is gone for good, at most for the patience.

        Raises:
            WorkersLost: where fewer than ``min_workers`` have answered then.
            PoolLost: where Ray fails in this process.
        """
        with _served("workers were asked who they are"):
            nothing = self._begin(Units([], (), self.limits), None)
            until = time.monotonic() + self.limits.patience_s
            # where too few have answered, the watch ends it
            while self._members.awaited() and (time.monotonic() < until or self._members.few()):
                self._receive(nothing)
                self._watch(nothing)
            self._members.check()

    def publish(self, generator: Generator, discriminator: Discriminator, policy: Generator | None) -> None:
        """Puts what is new into the cluster's store.

        Raises:
            PoolLost: where Ray fails in this process, for instance since its store is full.
        """
        started = time.perf_counter()
        self._device = next(generator.parameters()).device
        with _served("weights were published"):
            tags, size = self._store.publish(generator, discriminator, policy)
        self._ledger.published(time.perf_counter() - started, tags, size)

    def refer(self, references: References | None) -> None:
        with _served("references were published"):
            self._store.refer(references)

    def collect(self, spec: RolloutSpec, request: Request, path: Path) -> Rollouts:
        """The rollouts of a request, on the device of the published generator.

        Raises:
            MachinesFailed, UnitFailed, WrongWeights: see ``workers.failures``.
            ValueError: before the first publication.
        """
        wanted = self._store.wanted()
        size = self._unit if spec.completions else self._sample_unit
        units = Units(blocks(request, spec.samples, size), path, self.limits)
        with self._ledger.collecting(), _served("rollouts were collected"):
            settlement = self._begin(units, wanted)
            try:
                while not units.finished:
                    self._feed(settlement, spec, request, wanted)
                    self._receive(settlement)
                    self._watch(settlement)
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

    def _begin(self, units: Units, wanted: Wanted | None) -> Settlement:
        """A new request; answers to the one before mean nothing from now on."""
        self._request += 1
        self._watched = 0.0
        self._members.begin()
        return Settlement(self._request, units, wanted, self.limits, self._members, self._store, self._ledger)

    def _feed(self, settlement: Settlement, spec: RolloutSpec, request: Request, wanted: Wanted) -> None:
        """Gives waiting units to workers with room."""
        units, parcels = settlement.units, self._store.parcels()
        for member, unit in settlement.assignments():
            task = Task.of(units.blocks[unit], spec, units.path, request.temperature, wanted)
            if not member.calls:
                member.since = time.monotonic()
            ref = member.handle.fetch_and_run.remote(task, parcels, self.limits.unit_deadline_s / 2)
            member.calls[ref] = Call(self._request, unit, self._store.edition)
            self._callers[ref] = member

    def _receive(self, settlement: Settlement) -> None:
        """Waits for answers, but not for long, and takes all that are there."""
        if not self._callers:
            time.sleep(PING_S)
            return
        refs = list(self._callers)
        ready, others = ray.wait(refs, num_returns=1, timeout=WATCH_S)
        if ready and others:
            ready += ray.wait(others, num_returns=len(others), timeout=0)[0]
        for ref, answer in zip(ready, answers(ready), strict=True):
            if isinstance(answer, exceptions.GetTimeoutError) or ref not in self._callers:
                continue  # its content is still on its way, or its worker was lost a moment ago
            member = self._callers.pop(ref)
            if ref == member.ping:
                self._heard(member, answer)
            elif isinstance(answer, exceptions.RayActorError) and not isinstance(
                answer, exceptions.RayTaskError
            ):
                self._lose(member, settlement, brief(answer))
            else:
                call = member.calls.pop(ref)
                member.since = time.monotonic()
                if isinstance(answer, exceptions.RayTaskError):
                    settlement.raised(member, call, str(answer))
                else:
                    settlement.answered(member, call, answer)

    def _heard(self, member: Member, answer: object) -> None:
        """The answer of a worker that was asked whether it lives."""
        if isinstance(answer, Description):
            self._members.answered(member, answer)
        else:  # being restarted, or its node is silent: it may come back; any other answer is its last
            back = isinstance(answer, exceptions.ActorUnavailableError | exceptions.ObjectLostError)
            self._members.refused(member, brief(answer), gone=not back)

    def _lose(self, member: Member, settlement: Settlement, reason: str, held: float | None = None) -> None:
        """A worker is dead, silent, or (``held`` for so many seconds) hung: its units go elsewhere."""
        for ref in settlement.lost(member, reason, held):
            self._callers.pop(ref, None)

    def _watch(self, settlement: Settlement) -> None:
        """Deadlines, pings, and whether enough workers are left; now and then, since it asks every worker."""
        now = time.monotonic()
        if now - self._watched < WATCH_S:
            return
        self._watched = now
        for member, held in self._members.hanging():
            ray.kill(member.handle, no_restart=False)
            self._lose(member, settlement, f"held a unit for {held:.0f} s and was killed", held)
        for member in self._members.unreliable():
            ray.kill(member.handle, no_restart=True)
            if member.calls:
                self._lose(member, settlement, "was put in quarantine")
            self._callers.pop(member.ping, None)
            self._members.quarantine(member)
        self._ping()
        self._members.check()

    def _ping(self) -> None:
        """Asks workers that are not ready whether they live."""
        now = time.monotonic()
        for member in self._members.silent():
            if now >= member.ping_at:
                member.ping = member.handle.describe.remote()
                self._callers[member.ping] = member


def answers(refs: Sequence[Any]) -> list[object]:
    """What is behind references that are ready, in one go; what Ray raises is an answer, too."""
    try:
        return list(ray.get(list(refs), timeout=SLICE_S))
    except exceptions.RayError as error:  # of the first that failed
        if len(refs) == 1:
            return [error]
    return [one for ref in refs for one in answers([ref])]


@contextmanager
def _served(doing: str) -> Iterator[None]:
    """Gives what Ray raises in this process, which is no answer of a worker, a type of ours."""
    try:
        yield
    except exceptions.RayError as error:
        advice = next((told for kind, told in ADVICE.items() if isinstance(error, kind)), OTHER_ADVICE)
        raise PoolLost(f"Ray failed while {doing}: {brief(error)}. {advice}") from error
