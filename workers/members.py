"""The workers of a pool as it sees them: ready, silent, or gone for good; and when too few are left.

A worker begins silent. One that is silent is asked now and then whether it lives, and is ready again when
it answers. Knows no Ray: a handle and a reference are opaque here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from workers.dispatch import Limits
from workers.failures import WorkersLost
from workers.ledger import Ledger
from workers.messages import Description, DeviceClass, device_class

PING_S = 0.2
"""Between two questions to a worker that does not answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """A unit that a worker has: of which request, and the store's edition when it was given."""

    request: int
    unit: int
    edition: int


@dataclass(slots=True, eq=False)
class Member:
    """One worker.

    Attributes:
        calls: by reference, in the order in which it works on them.
        since: when it began with the first of them.
        ping: the reference of its answer to whether it lives, or None.
        ping_at: when it may be asked.
        process: its node and process, once known.
        losses: how often it was lost; ``last`` says how, the last time.
        failures: of the worker, not of the data, in a row: since its last result.
    """

    number: int
    handle: Any
    ready: bool = False
    gone: bool = False
    calls: dict[Any, Call] = field(default_factory=dict)
    since: float = 0.0
    ping: Any = None
    ping_at: float = 0.0
    process: tuple[str, int] | None = None
    losses: int = 0
    failures: int = 0
    last: str = "has not answered yet"


class Members:
    """All workers of a pool.

    Attributes:
        known: the device classes of all that have ever answered or computed; it never shrinks, since what
            they computed stays.
    """

    def __init__(self, handles: Sequence[Any], limits: Limits, ledger: Ledger) -> None:
        self.known: set[DeviceClass] = set()
        self._all: list[Member] = []
        self._limits, self._ledger = limits, ledger
        for handle in handles:
            self.add(handle)
        self._enough = time.monotonic()  # when there were enough workers last

    def __iter__(self) -> Iterator[Member]:
        return iter(self._all)

    def ready(self) -> list[Member]:
        return [member for member in self._all if member.ready]

    def add(self, handle: Any) -> None:
        """One more worker; it begins silent."""
        self._all.append(Member(len(self._all), handle))
        self._ledger.total = len(self._all)

    def awaited(self) -> bool:
        """Whether one that is not gone for good has still to answer."""
        return any(not (member.ready or member.gone) for member in self._all)

    def few(self) -> bool:
        """Whether fewer are alive than there must be."""
        return len(self.ready()) < self._limits.min_workers

    def classes(self, learner: torch.device) -> set[DeviceClass]:
        """What must be one class for bits to be equal.

        Where networks learn on the CPU, the in-process pool's counts beside those of workers on a CPU.
        """
        found = set(self.known)
        if learner.type == "cpu":
            own = device_class(learner, torch.float32, threads=1)
            found |= {replace(own, dtype=one.dtype) for one in found if one.on_cpu}
        return found

    def begin(self) -> None:
        """A new request: what one that was given up left behind gets its full time again."""
        self._enough = time.monotonic()
        for member in self._all:
            member.since = self._enough

    def answered(self, member: Member, description: Description) -> None:
        """A worker lives."""
        self.ran(member, description.node, description.pid, idle=False)
        self.known.add(description.device_class)
        member.ready, member.ping, member.since = True, None, time.monotonic()
        self._ledger.set_alive(len(self.ready()))

    def refused(self, member: Member, reason: str, *, gone: bool) -> None:
        """A worker did not answer whether it lives; if it is gone, it is never asked again."""
        member.ping, member.ping_at = None, time.monotonic() + PING_S
        member.gone, member.last = gone, reason
        self._count_gone()
        if gone and not member.losses:
            self._count_loss(member)

    def ran(self, member: Member, node: str, pid: int, *, idle: bool) -> None:
        """Counts a restart by its new process; where it had seemed ``idle`` and well, a death too."""
        if member.process not in (None, (node, pid)):
            self._ledger.restarts += 1
            if idle:
                self._count_loss(member)
        member.process = (node, pid)

    def lost(self, member: Member, reason: str) -> list[tuple[Any, Call]]:
        """A worker is dead, silent or killed: its calls, which nobody else has now."""
        member.ready, member.last, member.ping_at = False, reason, time.monotonic()
        member.failures += 1
        self._count_loss(member)
        self._ledger.set_alive(len(self.ready()))
        calls = list(member.calls.items())
        member.calls.clear()
        return calls

    def unreliable(self) -> list[Member]:
        """Those that have failed too often in a row."""
        return [m for m in self._all if not m.gone and m.failures >= self._limits.quarantine_after]

    def quarantine(self, member: Member) -> None:
        """It is ended, and never asked again."""
        member.ready, member.gone = False, True
        member.last = f"failed {member.failures} times in a row, last: {member.last}"
        self._ledger.quarantined += 1
        self._count_gone()

    def gone(self) -> list[int]:
        """Numbers of those that will never answer again."""
        return [member.number for member in self._all if member.gone]

    def hanging(self) -> list[tuple[Member, float]]:
        """Those that hold a unit for too long, and for how many seconds."""
        now = time.monotonic()
        late = self._limits.unit_deadline_s
        return [(m, now - m.since) for m in self._all if m.calls and now - m.since > late]

    def silent(self) -> list[Member]:
        """Those that are to be asked whether they live."""
        return [m for m in self._all if not (m.ready or m.gone or m.ping is not None)]

    def check(self) -> None:
        """Notes how many are alive.

        Raises:
            WorkersLost: when too few are, and no more can come or none came in time.
        """
        now = time.monotonic()
        alive, left = len(self.ready()), sum(not member.gone for member in self._all)
        wanted, patience = self._limits.min_workers, self._limits.patience_s
        self._ledger.set_alive(alive)
        if alive >= wanted:
            self._enough = now
        elif left < wanted or now - self._enough > patience:
            told = "; ".join(f"worker {m.number}: lost {m.losses} times, last: {m.last}" for m in self._all)
            raise WorkersLost(
                f"{alive} of {len(self._all)} rollout workers are alive, wanted are at least {wanted}; "
                f"{len(self._all) - left} are gone for good, and for an answer of the others "
                f"{now - self._enough:.0f} s were waited (limit {patience:g} s). {told or 'None was given'}. "
                "Look at the nodes' memory and logs, and resume with a higher rollout.worker_restarts "
                "or a longer cluster.patience_s if they were only short"
            )

    def _count_gone(self) -> None:
        self._ledger.gone = len(self.gone())
        self._ledger.set_alive(len(self.ready()))

    def _count_loss(self, member: Member) -> None:
        member.losses += 1
        self._ledger.deaths += 1
