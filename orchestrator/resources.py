"""The part of a configuration that says which processes a run has, and what each may take.

The same run ends with the same bits with any number of workers, units of any size, and whoever dies. What a
result may depend on in its last bits is the class of device: learner.threads, and GPU or CPU.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from algorithms.config import Frozen


class RolloutConfig(Frozen):
    """Who makes rollouts, and in what pieces."""

    workers: int = Field(0, ge=0, le=100_000)
    """Rollout workers: Ray actors, one CPU thread each. 0: rollouts in the learner's process, without Ray."""

    placement: Literal["auto", "learner", "workers"] = "auto"
    """Where rollouts are made when there are workers. auto: wherever a short trial before the first step is
    faster; the choice is kept in the run."""

    worker_gpus: float = Field(0.0, ge=0, le=64)
    """GPUs of each worker; a fraction shares one among several."""

    worker_restarts: int = Field(10, ge=0)
    """How often each worker may die and be started again."""

    worker_replacements: int = Field(10, ge=0)
    """How many workers are made anew, on whatever node has room, for those that are gone for good: out of
    restarts, or in quarantine after failing three times in a row."""

    fallback: bool = False
    """Whether the learner makes rollouts itself, from the last commit on, where too few workers are left."""

    unit_deadline_s: float = Field(600.0, gt=0)
    """A worker that holds one unit for longer is taken for hung: it is killed and the unit redone."""

    unit: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Sequences per unit where prefixes are completed: the quantum of work and of retry. auto: two units for
    each worker, or one for each thread of the learner; the result does not depend on it."""

    sample_unit: int = Field(512, ge=1)
    """Sequences per unit where whole sequences are only sampled."""

    memory_mb: int = Field(256, ge=16)
    """Memory that the completions of one unit may take, in MiB."""

    def sequences_per_unit(self, sequences: int, units: int) -> int:
        """``unit``, resolved for a request of so many sequences that would best be so many units."""
        return max(1, -(-sequences // units)) if self.unit == "auto" else self.unit


class ScoringConfig(Frozen):
    """How sequences are scored for the generator. Unlike where that happens, this changes results."""

    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """bf16: matrix products of bfloat16 where the discriminator offers that, faster on GPUs and on processors
    with AMX or AVX-512 BF16. auto: bf16 where everyone who scores has such instructions, and credits tried
    before the first step move by 0.01 at most; the choice is kept in the run."""

    tables_mb: int = Field(512, ge=0)
    """Memory that each process which scores may take for what a discriminator works out beforehand, in MiB.
    With less it is slower, and scores have other last bits."""


class LearnerConfig(Frozen):
    """Where the networks learn."""

    threads: int = Field(2, ge=1)
    """CPU threads of the learner, and units run side by side by the in-process pool; not the machine's
    number of cores, so that a result does not depend on the machine."""

    gpus: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """GPUs of the learner. auto: one where there is one, else the CPU."""

    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """What the discriminator's matrix products take while it learns; its weights, sums, gradients and the
    optimiser's moments are float32 always. auto: bf16 where the learner has instructions for it; the choice
    is kept in the run."""

    deadline_s: float = Field(21_600.0, gt=0)
    """A step, epoch or evaluation that takes longer is taken for hung, where the learner is an actor."""

    restarts: int = Field(3, ge=0)
    """How often in a row, without a step of progress between, a learner that is an actor and dies is made
    again and goes on from the last commit."""


class ClusterConfig(Frozen):
    """The Ray cluster, if rollout.workers or evaluation.actor ask for one."""

    address: str | None = None
    """HOST:PORT of a cluster to join, of which this machine is a node; the run directory must be on a disk
    that its nodes share. Empty: RAY_ADDRESS, else one of our own on this machine, which ends with the run."""

    store_mb: int = Field(256, ge=80)
    """Memory of the object store of our own cluster, in MiB."""

    patience_s: float = Field(60.0, gt=0)
    """How long to wait for processes to start, and for at least one worker to come back."""
