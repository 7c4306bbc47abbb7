"""The pool that a configuration asks for."""

from __future__ import annotations

from orchestrator.config import RunConfig
from orchestrator.state import TrainState
from workers.pool import InProcessPool


def open_pool(config: RunConfig, state: TrainState) -> InProcessPool:
    """A pool with copies of the state's networks; close it, or use it as a context manager."""
    return InProcessPool(
        state.generator,
        state.discriminator,
        threads=config.learner.threads,
        unit=config.rollout.unit,
        sample_unit=config.rollout.sample_unit,
        memory=config.rollout.memory_mb * 2**20,
    )
