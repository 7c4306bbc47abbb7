"""One line of training with its records: the run itself, and each of its controls.

Consumes a trainer's progress: evaluates when due, appends to the journal, commits checkpoints. What a
branch knows about its own past (best evaluation, where the adversarial stage began) it reads from its
journal, which a resumed branch cuts back to where its checkpoint was made.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from algorithms.registry import build
from orchestrator import checkpoints
from orchestrator.checkpoints import Checkpoint, full_disk_explained
from orchestrator.config import RunConfig
from orchestrator.data import Dataset
from orchestrator.errors import UserError
from orchestrator.evaluation import evaluate, floor
from orchestrator.journal import Journal, Record
from orchestrator.progress import Progress
from orchestrator.trainer import Trainer

ADVERSARIAL = "adversarial"


@dataclass(frozen=True, slots=True)
class Best:
    """The evaluation that ``--checkpoint best`` means."""

    step: int
    metric: str
    value: float


def best_metric(config: RunConfig) -> str:
    """The metric that chooses the best checkpoint, ``auto`` resolved by what the data allows."""
    if config.best.metric != "auto":
        return config.best.metric
    return "eval/nll_oracle" if config.data.path is None else "eval/nll_validation"


def best_evaluation(journal: Journal, config: RunConfig) -> Best | None:
    """The best evaluation of the algorithm's last stage that a journal holds, by the configured metric."""
    metric, sign = best_metric(config), 1.0 if config.best.direction == "minimize" else -1.0
    last = build(config.algorithm).stages[-1]
    records = [r for r in journal.read() if metric in r.metrics and r.stage == last]
    if not records:
        return None
    chosen = min(records, key=lambda record: sign * record.metrics[metric])
    return Best(chosen.step, metric, chosen.metrics[metric])


class Branch:
    """A trainer, its folder and its journal."""

    def __init__(
        self, config: RunConfig, data: Dataset, trainer: Trainer, folder: Path, warn: Callable[[str], None]
    ) -> None:
        """
        Args:
            folder: gets metrics.jsonl, samples/ and checkpoints/.
            warn: told of damaged checkpoints.
        """
        self.config, self.data, self.trainer, self.folder, self.warn = config, data, trainer, folder, warn
        self.journal = Journal(folder / "metrics.jsonl")
        self.checkpoints = folder / "checkpoints"
        self.undefined: tuple[str, ...] = ()
        self._committed = time.monotonic()
        self._floor: float | None = None

    def restore(self) -> Checkpoint | None:
        """Continues from the newest whole checkpoint, if there is one; cuts the journal back to it.

        Raises:
            UserError: there are checkpoints, and none of them is whole.
        """
        found, complaints = checkpoints.latest(self.checkpoints)
        if found is None and complaints:
            raise UserError(
                f"no checkpoint in {self.checkpoints} can be used: {'; '.join(complaints)}. "
                "Put one back, or start a new run"
            )
        for complaint in complaints:
            self.warn(f"{complaint}; using the checkpoint before it")
        if found is None:
            self.journal.truncate(0)
            return None
        checkpoints.set_aside_newer(self.checkpoints, found.step)
        self.trainer.state.restore(found.tensors, found.meta["counters"])
        self.journal.truncate(found.meta["journal"])
        self.undefined = tuple(found.meta["undefined"])
        return found

    def train(self, stop: Callable[[], bool]) -> Iterator[Progress]:
        """Trains to the end, or until ``stop`` says so after some step; committed either way."""
        while (stage := self.trainer.enter_stage()) is not None:
            state = self.trainer.state
            if stage == ADVERSARIAL and state.done == 0 and not self._evaluated(state.step):
                # the start of the adversarial stage is what everything after it is compared with
                before = Progress(
                    state.step, self._stage_before(), 0, 0, self.trainer.branch, self.evaluate()
                )
                with full_disk_explained(self.journal.path):
                    self.journal.append(before.step, before.stage, before.metrics)
                self.commit()
            if stop():
                break
            progress = self.trainer.advance()
            assert progress is not None
            if self._due(progress):
                progress = replace(progress, metrics={**progress.metrics, **self.evaluate()})
            with full_disk_explained(self.journal.path):
                self.journal.append(progress.step, progress.stage, progress.metrics)
            self._commit_if_due(progress)
            yield progress
        self.commit()

    def evaluate(self) -> dict[str, float]:
        """The metrics of the generator as it is; its first samples are kept as text."""
        trainer, data = self.trainer, self.data
        state = trainer.state
        trainer.publish()
        # the same addresses at every evaluation: two of them differ by the model, not by luck
        result = evaluate(
            state.generator,
            state.discriminator if trainer.has_discriminator() else None,
            trainer.pool,
            data,
            self.config.evaluation,
            (self.config.seed, "evaluation"),
        )
        self.undefined = result.undefined
        shown = data.text(result.samples.tokens[: self.config.evaluation.shown])
        path = self.samples_file(state.step)
        with full_disk_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in shown), encoding="utf-8")
        metrics = dict(result.metrics)
        self._check_best_metric(metrics)
        if data.oracle is not None:
            if self._floor is None:
                self._floor = floor(data.oracle, data.test)
            metrics["eval/nll_oracle_floor"] = self._floor
        return metrics

    def _check_best_metric(self, metrics: Mapping[str, float]) -> None:
        wanted, known = best_metric(self.config), {*metrics, "eval/d_accuracy_real", "eval/d_accuracy_fake"}
        if wanted not in known:
            near = difflib.get_close_matches(wanted, known, 1, 0.4)
            raise UserError(
                f"best.metric = {wanted} is not measured here"
                + (f": did you mean {near[0]}?" if near else "")
                + f" Known are {', '.join(sorted(known))}"
            )

    def samples_file(self, step: int) -> Path:
        """Where the samples of an evaluation at a step lie."""
        return self.folder / "samples" / f"step_{step:06d}.txt"

    def commit(self) -> None:
        """Saves the state as it is now, and removes checkpoints that nobody needs."""
        state = self.trainer.state
        best = self.best()
        meta = {
            "counters": state.counters(),
            "journal": self.journal.sync(),
            "undefined": list(self.undefined),
        }
        checkpoints.save(self.checkpoints, state.step, state.tensors(), meta)
        pinned = {self.start_step()} | ({best.step} if best else set())
        checkpoints.prune(self.checkpoints, self.config.checkpoint.keep, pinned)
        self._committed = time.monotonic()

    def evaluations(self) -> list[Record]:
        """All records that hold an evaluation, in order."""
        return [record for record in self.journal.read() if "eval/unique_rate" in record.metrics]

    def best(self) -> Best | None:
        """The best evaluation of the algorithm's last stage, so far."""
        return best_evaluation(self.journal, self.config)

    def start_step(self) -> int:
        """The step at which the adversarial stage begins, as far as the run has come."""
        return max((record.step for record in self.journal.read() if record.stage != ADVERSARIAL), default=0)

    def _stage_before(self) -> str:
        index = self.trainer.state.stage - 1
        return self.trainer.state.algorithm.stages[index] if index >= 0 else "pretrain_generator"

    def _evaluated(self, step: int) -> bool:
        return any(record.step == step for record in self.evaluations())

    def _due(self, progress: Progress) -> bool:
        every = {
            "pretrain_generator": self.config.evaluation.pretrain_every,
            "pretrain_discriminator": progress.total,
            ADVERSARIAL: self.config.evaluation.every,
        }[progress.stage]
        first = progress.done == 1 and progress.stage != "pretrain_discriminator"
        return first or progress.done % every == 0 or progress.done == progress.total

    def _commit_if_due(self, progress: Progress) -> None:
        best = self.best() if self._due(progress) else None
        late = time.monotonic() - self._committed >= self.config.checkpoint.every_seconds
        if late or progress.done == progress.total or (best is not None and best.step == progress.step):
            self.commit()
