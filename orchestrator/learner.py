"""What learns: one state, its trainer and its pool, told what to do one call at a time.

The same class runs in the controller's process and as an actor with a GPU. It decides nothing: when to
evaluate, to commit and to stop is the controller's (``orchestrator.branch``). It holds one branch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from algorithms.base import Stage
from algorithms.types import PRECISIONS, Precision, RolloutSpec
from orchestrator import checkpoints
from orchestrator.config import ControlName, RunConfig
from orchestrator.controls import TRAINED_CONTROLS, AlteredPool, Control
from orchestrator.data import Dataset
from orchestrator.decoding import Decoding, Searched
from orchestrator.measure import Measure, Measured
from orchestrator.open_pool import Placement, open_pool
from orchestrator.progress import Progress
from orchestrator.start_from import start_from
from orchestrator.state import TrainState
from orchestrator.trainer import Trainer
from workers import philox
from workers.messages import DeviceClass, device_class
from workers.pool import Pool, Request, Staffed
from workers.process import clock, settle

MOST_DEVIATION = 0.01
"""How far a credit may move where scores are computed in bfloat16."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a branch stands between two calls.

    Attributes:
        step: units of training done, over all stages.
        stage: what the next call works on; None at the end.
        done: units of that stage that are done.
        previous: the stage that the generator, as it is, comes from.
    """

    step: int
    stage: Stage | None
    done: int
    previous: Stage


@dataclass(frozen=True, slots=True)
class Restored:
    """A checkpoint that was found: its step, what was kept beside the tensors, and what is wrong with newer
    ones."""

    step: int | None
    meta: Mapping[str, Any]
    complaints: tuple[str, ...]


class Learner:
    """The learner of a run and of its controls, one after the other."""

    def __init__(
        self,
        config: RunConfig,
        data: Dataset,
        device: str = "cpu",
    ) -> None:
        """
        Args:
            device: cpu or cuda.
        """
        settle(config.learner.threads)
        self.config, self.data, self.device = config, data, device
        self._measure = Measure(config, data)
        state = self._fresh()
        self._pool = open_pool(config, state)
        rng = philox.generator((config.seed, "references"))
        self._references = state.algorithm.choose_references(data.train, data.alphabet.end, rng)
        self._pool.refer(self._references)
        self._control = Control("")
        self._precision: Precision = "fp32"
        self._learning: Precision = "fp32"
        self._searched: Callable[[], Searched] | None = None
        if config.pretrain.beam_negatives:
            from orchestrator.trained import searched_negatives  # it can read runs, which few learners need

            self._searched = cache(partial(searched_negatives, config, data))
        self._trainer = Trainer(config, state, self._pool, data.train)

    def _fresh(self) -> TrainState:
        """Random networks, and an algorithm that knows the data."""
        state = TrainState.fresh(self.config, self.data.alphabet, self.data.length, self.device)
        state.algorithm.study(self.data.train, self.data.alphabet)
        return state

    def describe(self) -> dict[str, Any]:
        """The class of device that results are exact on."""
        return {
            "device": str(self._device_class()),
            "exact": self._pool.exact,
            "rollouts": list(self._pool.classes),
        }

    def begin(self, control: ControlName | None = None, start: tuple[Path, int] | None = None) -> None:
        """A new branch: the run itself, or a control.

        Args:
            start: folder and step of the checkpoint that a control starts from.
        """
        config, data = self.config, self.data
        state = self._fresh()
        if start is not None:
            found = checkpoints.load(*start)
            state.restore(found.tensors, found.meta["counters"])
        change = TRAINED_CONTROLS.get(control, Control("")) if control else Control("")
        if change.fresh_discriminator:
            with philox.global_random((config.seed, "control", control or "")):
                fresh = config.discriminator.build(data.alphabet, data.length)
            state.discriminator.load_state_dict(fresh.state_dict())
        self._control = change
        self._trainer = Trainer(
            config,
            state,
            self._altered(),
            data.train,
            branch=control or "",
            trains_discriminator=change.trains_discriminator,
            precision=self._precision,
            learning=self._learning,
            searched=self._searched,
        )

    def restore(self, directory: Path, before: int | None = None) -> Restored:
        """Continues from the newest whole checkpoint in a folder, if there is one.

        Args:
            before: an older one than of this step.
        """
        found, complaints = checkpoints.latest(directory, before)
        if found is None:
            return Restored(None, {}, tuple(complaints))
        self._trainer.state.restore(found.tensors, found.meta["counters"])
        return Restored(found.step, found.meta, tuple(complaints))

    def start_from(self) -> bool:
        """Takes over the networks of ``init.run``; False where there is no such setting."""
        return start_from(self.config, self._trainer.state, self.data)

    def position(self) -> Position:
        """Where the branch stands."""
        stage, state = self._trainer.enter_stage(), self._trainer.state
        stages = state.algorithm.stages
        return Position(state.step, stage, state.done, stages[max(0, min(state.stage, len(stages)) - 1)])

    def advance(self) -> tuple[Progress, Position]:
        """One epoch, round or step, and where the branch stands then; the stage must not be None."""
        progress = self._trainer.advance()
        if progress is None:
            raise ValueError("nothing is left to train: position() says so before")
        if (
            progress.stage == "adversarial"
            and self._precision != "fp32"
            and progress.done % self.config.evaluation.every == 0
        ):
            deviation = {"rollout/precision_deviation": self.precision_deviation()}
            progress = replace(progress, metrics={**progress.metrics, **deviation})
        return progress, self.position()

    def evaluate(
        self, temperature: float = 1.0, *, judged: bool = True, thorough: bool | None = None
    ) -> Measured:
        """The metrics of the generator as it is.

        Args:
            temperature: of its samples.
            judged: False leaves the discriminator's accuracy out.
            thorough: whether by all metrics; None as the configuration has it.
        """
        trainer = self._trainer
        judged = judged and trainer.has_discriminator()
        return self._measure(
            trainer.state, self._pool, judged=judged, decoding=Decoding(temperature), thorough=thorough
        )

    def save(self, directory: Path, meta: Mapping[str, Any]) -> None:
        """Commits the state, and beside it what the controller must find again."""
        state = self._trainer.state
        counted = {**meta, "counters": state.counters(), "judged": self._trainer.has_discriminator()}
        checkpoints.save(directory, state.step, state.tensors(), counted)

    def parameters_sha256(self) -> str:
        """See ``TrainState.parameters_sha256``."""
        return self._trainer.state.parameters_sha256()

    def trial(self) -> float:
        """Seconds that one sequence's rollouts take here, in a step; the best of two tries after a first one.

        No state is changed and no random number is used up: every draw has an address.
        """
        spec, wanted = self._trial(self.config.batch_size)
        times = []
        for _ in range(3):
            started = clock(self._trainer.state.device)
            self._pool.collect(spec, wanted, (self.config.seed, "trial"))
            times.append(clock(self._trainer.state.device) - started)
        return min(times[1:]) / wanted.count

    def fast_bf16(self) -> bool:
        """Whether everyone who scores here multiplies bfloat16 fast."""
        return self._pool.fast_bf16

    def precision_deviation(self) -> float:
        """How far bfloat16 moves a credit: the most among all tokens of a few sequences."""
        spec, wanted = self._trial(8)
        fp32, bf16 = (
            self._trainer.state.algorithm.credit(
                self._pool.collect(replace(spec, precision=precision), wanted, (self.config.seed, "trial"))
            )
            for precision in PRECISIONS
        )
        return (fp32 - bf16).abs().max().item()

    def learns_fast_in_bf16(self) -> bool:
        """Whether the device that learns multiplies bfloat16 fast."""
        return self._device_class().fast_bf16

    def set_precision(self, scores: Precision, learning: Precision) -> None:
        """In what scores are computed, and with what products the discriminator learns, from now on: in this
        branch and in all that begin later."""
        self._precision = self._trainer.precision = scores
        self._learning = self._trainer.learning = learning

    def _device_class(self) -> DeviceClass:
        return device_class(torch.device(self.device), torch.float32, torch.get_num_threads())

    def _trial(self, sequences: int) -> tuple[RolloutSpec, Request]:
        """A request of the networks as they are, for so many sequences or as many as a step has."""
        state = self._trainer.state
        self._pool.publish(state.generator, state.discriminator, state.policy)
        spec = state.algorithm.rollouts(0)
        size = min(sequences, self.config.batch_size, len(self.data.train))
        real = self.data.train.select(slice(0, size))
        return spec, Request(size, real.source, real if spec.clamp else None)

    def place(self, placement: Placement, workers: Sequence[Any]) -> None:
        """Has rollouts made elsewhere from now on.

        Args:
            placement: who makes them.
            workers: handles of rollout workers, where they do.
        """
        self._pool.close()
        self._pool = open_pool(self.config, self._trainer.state, placement, workers)
        self._pool.greet()
        self._pool.refer(self._references)
        self._trainer.change_pool(self._altered())

    def gone_workers(self) -> list[int]:
        """Places, among the workers that were given, of those that will never answer again."""
        return self._pool.gone() if isinstance(self._pool, Staffed) else []

    def add_workers(self, workers: Sequence[Any]) -> None:
        """More rollout workers, between two steps."""
        assert isinstance(self._pool, Staffed)
        for worker in workers:
            self._pool.add(worker)

    def _altered(self) -> Pool:
        """The pool as the branch sees it."""
        change = self._control
        return AlteredPool(self._pool, change.alter, scored=change.scored) if change.alter else self._pool

    def close(self) -> None:
        """Ends what the pool runs."""
        self._pool.close()
