"""Evaluation of committed checkpoints by a process of its own, so that the learner need not wait for it.

What it measures is what the learner would have measured, to the bit: the same function on the same addresses.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator import checkpoints
from orchestrator.config import RunConfig
from orchestrator.data import Dataset
from orchestrator.measure import Measure, Measured
from orchestrator.open_pool import open_pool
from orchestrator.state import TrainState
from workers.process import settle


class Evaluator:
    """One state and one pool, filled from one checkpoint after the other."""

    def __init__(self, config: RunConfig, data: Dataset, device: str = "cpu") -> None:
        """
        Args:
            device: cpu or cuda; the numbers are the learner's to the bit where it is the learner's.
        """
        settle(config.learner.threads)
        self._state = TrainState.fresh(config, data.alphabet, data.length, device)
        self._pool = open_pool(config, self._state)
        self._measure = Measure(config, data)

    def evaluate(self, directory: Path, step: int) -> Measured:
        """The metrics of the generator that was committed at a step.

        Args:
            directory: the folder of checkpoints, on a disk that this process shares with the learner.
        """
        found = checkpoints.load(directory, step)
        self._state.restore(found.tensors, found.meta["counters"])
        return self._measure(self._state, self._pool, judged=found.meta["judged"])
