"""The pool that a configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from orchestrator.config import RunConfig
from orchestrator.state import TrainState
from workers.dispatch import Limits
from workers.pool import InProcessPool, Pool

Placement: TypeAlias = Literal["learner", "workers"]
"""Who makes rollouts: the learner itself, or rollout workers."""


def open_pool(
    config: RunConfig, state: TrainState, placement: Placement = "learner", workers: Sequence[Any] = ()
) -> Pool:
    """A pool with copies of the state's networks; close it.

    Args:
        workers: handles of rollout workers, where the placement is theirs.
    """
    unit = unit_of(config, state, len(workers) if placement == "workers" else 0)
    sample_unit = config.rollout.sample_unit
    if placement == "workers":
        from workers.ray_pool import RayPool  # Ray is imported where it is used, and nowhere else

        limits = Limits(unit_deadline_s=config.rollout.unit_deadline_s, patience_s=config.cluster.patience_s)
        return RayPool(workers, unit=unit, sample_unit=sample_unit, limits=limits, device=state.device)
    return InProcessPool(
        state.generator,
        state.discriminator,
        threads=config.learner.threads,
        unit=unit,
        sample_unit=sample_unit,
        memory=config.rollout.memory_mb * 2**20,
        table_bytes=config.scoring.tables_mb * 2**20,
    )


def unit_of(config: RunConfig, state: TrainState, workers: int) -> int:
    """Sequences per unit where prefixes are completed, by so many workers or, for 0, by the learner.

    A worker gets two units, so that it has one more while an answer is on its way.
    """
    sequences = config.batch_size * state.algorithm.rollouts(0).samples
    threads = config.learner.threads if state.device.type == "cpu" else 1
    return config.rollout.sequences_per_unit(sequences, 2 * workers or threads)
