"""Evaluations that are made elsewhere while training goes on: asked for in order, taken in in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

from orchestrator.checkpoints import DamagedCheckpoint
from orchestrator.measure import Measured
from workers.calls import ActorLost

PAUSE_S = 1.0
"""Before an evaluation is asked for again: the evaluator needs a moment to be started. It doubles each time,
since on a busy machine that may take half a minute."""


class Pending(Protocol):
    """A result that another process is working on."""

    def done(self) -> bool:
        """Whether ``result`` would return at once."""
        ...

    def result(self) -> Measured:
        """Waits for it; raises what went wrong."""
        ...


Later: TypeAlias = Callable[[Path, int], Pending]
"""Asks for the evaluation of a checkpoint: its folder and step."""


class LaterEvaluations:
    """The evaluations of one branch that are under way."""

    MOST = 2
    """Under way at once: one that is computed, one that waits. Each keeps a checkpoint on disk."""

    TRIES = 6
    """How often an evaluation is asked for whose evaluator dies; it is started again meanwhile."""

    def __init__(self, checkpoints: Path, later: Later, warn: Callable[[str], None]) -> None:
        """
        Args:
            warn: told of evaluations that are asked for again, or given up.
        """
        self._checkpoints, self._later, self._warn = checkpoints, later, warn
        self._lost = 0
        self._asked: deque[tuple[int, str, Pending | None]] = deque()

    @property
    def waiting(self) -> tuple[int, ...]:
        """Steps whose evaluation has not been taken in."""
        return tuple(step for step, _, _ in self._asked)

    def expect(self, step: int, stage: str) -> None:
        """An evaluation that will be asked for as soon as its checkpoint is committed."""
        self._asked.append((step, stage, None))

    def ask(self) -> None:
        """Asks for every evaluation that is expected and was not asked for yet."""
        self._asked = deque(
            (step, stage, pending or self._later(self._checkpoints, step))
            for step, stage, pending in self._asked
        )

    def take(self, most: int | None = None) -> Iterator[tuple[int, str, Measured]]:
        """What has come in, in the order of steps: step, stage and result.

        Args:
            most: waits until no more than so many are under way; None waits for nothing.
        """
        while self._asked:
            step, stage, pending = self._asked[0]
            if pending is None or (not pending.done() and (most is None or len(self._asked) <= most)):
                return
            measured = self._result(step, stage, pending)
            if measured is not None:
                self._asked.popleft()
                yield step, stage, measured

    def _result(self, step: int, stage: str, pending: Pending) -> Measured | None:
        """The result, or None where it was asked for again or given up.

        Raises:
            ActorLost: the evaluator has died too often.
        """
        try:
            measured = pending.result()
        except ActorLost as problem:
            self._lost += 1
            if self._lost >= self.TRIES:
                raise
            self._warn(f"{problem}; the evaluation of step {step} is asked for again")
            time.sleep(PAUSE_S * 2 ** (self._lost - 1))
            self._asked = deque((step, stage, None) for step, stage, _ in self._asked)
            self.ask()
            return None
        except DamagedCheckpoint as problem:
            self._warn(f"step {step} is not evaluated: {problem}")
            self._asked.popleft()
            return None
        self._lost = 0
        return measured
