"""The units of one request: which wait, what each has been through, when one is given up.

Machines that fail cost a unit nothing but time, up to a limit; a unit that raises wherever it is tried is at
fault itself.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from workers.failures import UnitFailed, UnitLost
from workers.messages import Result
from workers.philox import Path
from workers.rollout import Block


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pool puts up with. Seconds."""

    in_flight: int = 2
    """Units that a worker has at a time: one computed, the others waiting there."""

    unit_deadline_s: float = 600.0
    """A worker that holds one unit for longer hangs: it is killed, and the unit is done elsewhere."""

    patience_s: float = 60.0
    """How long fewer than ``min_workers`` may be alive. A lost machine is only noticed after 20 s."""

    data_tries: int = 2
    """How often a unit may raise, or not be finished in time."""

    unit_tries: int = 6
    """How often a unit may be lost with its worker, with its result or with its weights."""

    quarantine_after: int = 3
    """A worker that fails so often in a row, without a result between, gets no more units and is ended."""

    min_workers: int = 1
    """Fewer alive for longer than ``patience_s``, or all others gone for good, ends the request."""


class Units:
    """The book of one request. Numbers of units are places in ``blocks``."""

    def __init__(self, blocks: Sequence[Block], path: Path, limits: Limits) -> None:
        self.blocks, self.path = blocks, path
        self.retries = 0
        self._limits = limits
        self._waiting = deque(range(len(blocks)))
        self._results: dict[int, Result] = {}
        self._raised: dict[int, list[int]] = {}  # workers that it raised on
        self._avoided: dict[int, set[int]] = {}  # workers that failed with it, in any way
        self._hung: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()

    @property
    def finished(self) -> bool:
        return len(self._results) == len(self.blocks)

    @property
    def results(self) -> list[Result]:
        """One for each unit, in their order."""
        return [self._results[unit] for unit in range(len(self.blocks))]

    def take(self, worker: int, alive: Collection[int]) -> int | None:
        """The first unit that waits and may go to this worker: not where it failed, while others live."""
        for unit in self._waiting:
            tried = self._avoided.get(unit, ())
            if worker not in tried or all(other in tried for other in alive):
                self._waiting.remove(unit)
                return unit
        return None

    def done(self, unit: int, result: Result) -> None:
        self._results[unit] = result

    def again(self, unit: int) -> None:
        """A unit that never began: its worker is gone, or was busy with another."""
        self.retries += 1
        self._waiting.appendleft(unit)

    def lost(self, unit: int, worker: int, reason: str) -> None:
        """A unit whose worker, result or weights were lost while it was at work.

        Raises:
            UnitLost: when that happens too often to be chance.
        """
        self._avoided.setdefault(unit, set()).add(worker)
        self._lost[unit] += 1
        if self._lost[unit] >= self._limits.unit_tries:
            raise UnitLost(
                f"{self.name(unit)} was lost {self._lost[unit]} times, last: {reason}. Look at the nodes' "
                "memory and logs; if the unit kills its workers, resume with a smaller rollout.unit, "
                "rollout.sample_unit or rollout.memory_mb"
            )
        self.again(unit)

    def hung(self, unit: int, held: float) -> None:
        """A unit that a worker did not finish in time.

        Raises:
            UnitLost: when that happens ``data_tries`` times.
        """
        self._hung[unit] += 1
        if self._hung[unit] >= self._limits.data_tries:
            raise UnitLost(
                f"{self.name(unit)} was not finished {self._hung[unit]} times, the last time within "
                f"{held:.0f} s (limit {self._limits.unit_deadline_s:g} s); its workers were killed. If it is "
                "only slow, resume with a smaller rollout.unit or rollout.sample_unit, or a higher "
                "rollout.unit_deadline_s"
            )
        self.again(unit)

    def raised(self, unit: int, worker: int, text: str) -> None:
        """A unit whose code raised an exception.

        Raises:
            UnitFailed: when it did so ``data_tries`` times; with the traceback.
        """
        tried = self._raised.setdefault(unit, [])
        tried.append(worker)
        self._avoided.setdefault(unit, set()).add(worker)
        if len(tried) >= self._limits.data_tries:
            raise UnitFailed(
                f"{self.name(unit)} raised an exception {len(tried)} times, on workers "
                f"{', '.join(map(str, tried))}. The data or the code is at fault, not the workers; "
                f"the last traceback:\n{text}"
            )
        self.again(unit)

    def name(self, unit: int) -> str:
        """The unit as it stands in messages."""
        block = self.blocks[unit]
        place = f"path {self.path}, first {block.first}, count {block.count}"
        return f"unit {unit + 1} of {len(self.blocks)} ({place})"
