"""What the answers of workers mean for the units of one request. Knows no Ray."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workers.dispatch import Limits, Units
from workers.failures import WeightsLost, WrongWeights, brief
from workers.ledger import Ledger
from workers.members import Call, Member, Members
from workers.messages import Failed, Result, Wanted
from workers.store import Store


class Settlement:
    """One request.

    Attributes:
        number: tells its calls from those of a request that was given up, for which nobody waits any more.
        units: its book.
        wanted: the weights of its units.
    """

    def __init__(
        self,
        number: int,
        units: Units,
        wanted: Wanted | None,
        limits: Limits,
        members: Members,
        store: Store,
        ledger: Ledger,
    ) -> None:
        self.number, self.units, self.wanted = number, units, wanted
        self._limits, self._members, self._store, self._ledger = limits, members, store, ledger
        self._weights_lost = 0

    def assignments(self) -> Iterator[tuple[Member, int]]:
        """Waiting units for workers with room, one each before anyone gets a second; give each at once."""
        # one that has failed too often is ended at the next look at all of them; it gets nothing before
        ready = [m for m in self._members.ready() if m.failures < self._limits.quarantine_after]
        alive = [member.number for member in ready]
        for depth in range(self._limits.in_flight):
            for member in ready:
                unit = self.units.take(member.number, alive) if len(member.calls) <= depth else None
                if unit is not None:
                    yield member, unit

    def answered(self, member: Member, call: Call, answer: object) -> None:
        """A worker's answer: a result, an exception as data, or what kept its answer from coming.

        Raises:
            WrongWeights: always fatal.
            WeightsLost, UnitLost, UnitFailed: at their limits.
        """
        if call.request != self.number:
            return
        if isinstance(answer, Result | Failed):
            self._members.ran(member, answer.node, answer.pid, idle=True)
        if isinstance(answer, Result) and answer.used == self.wanted:
            self._members.known.add(answer.device_class)
            self._ledger.unit(answer.compute_s, answer.load_s, answer.used.tags())
            self.units.done(call.unit, answer)
            member.failures = 0
        elif isinstance(answer, Result):
            member.failures += 1
            self._ledger.dropped += 1
            self.units.lost(
                call.unit, member.number, f"its result was made with {answer.used}, wanted was {self.wanted}"
            )
        elif isinstance(answer, Failed) and isinstance(answer.error, WrongWeights):
            self._ledger.mismatches += 1
            raise answer.error
        elif isinstance(answer, Failed) and isinstance(answer.error, WeightsLost):
            self._put_again(call, answer.error)
            self.units.again(call.unit)
        elif isinstance(answer, Failed):
            self.raised(member, call, answer.text)
        else:
            self.units.lost(call.unit, member.number, brief(answer))

    def raised(self, member: Member, call: Call, text: str) -> None:
        """An exception that a worker raised.

        Raises:
            UnitFailed: at its limit.
        """
        if call.request == self.number:
            self.units.raised(call.unit, member.number, text)

    def lost(self, member: Member, reason: str, held: float | None = None) -> list[Any]:
        """A worker is dead, silent, or (``held`` for so many seconds) hung: its units go elsewhere.

        Returns:
            The references of its calls, which nobody answers now.

        Raises:
            UnitLost: at its limit.
        """
        calls = self._members.lost(member, reason)
        for place, (_, call) in reversed(list(enumerate(calls))):  # to the front; only the first began
            if call.request != self.number:
                continue
            if place:
                self.units.again(call.unit)
            elif held is not None:
                self.units.hung(call.unit, held)
            else:
                self.units.lost(call.unit, member.number, reason)
        return [ref for ref, _ in calls]

    def _put_again(self, call: Call, error: WeightsLost) -> None:
        if call.edition < self._store.edition:
            return  # that was noticed by another unit
        self._weights_lost += 1
        if self._weights_lost > self._limits.data_tries:
            raise WeightsLost(
                f"the published weights were lost {self._weights_lost} times in one request, last: {error}. "
                "Look at the nodes; if the object store is too small, resume with a larger cluster.store_mb"
            )
        self._store.put_again()
