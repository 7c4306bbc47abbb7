"""One line of training with its records: the run itself, and each of its controls.

Tells a learner what to do, and consumes its progress: evaluates when due, appends to the journal, commits
checkpoints. What a branch knows about its own past (best evaluation, where the adversarial stage began) it
reads from its journal, which a resumed branch cuts back to where its checkpoint was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator import checkpoints
from orchestrator.best import Best, best_evaluation, check_best_metric
from orchestrator.checkpoints import full_disk_explained
from orchestrator.config import ControlName, RunConfig
from orchestrator.data import Dataset
from orchestrator.errors import PlacementError, ResumableError, UserError
from orchestrator.fingerprint_file import FingerprintFile
from orchestrator.guards import Guards
from orchestrator.journal import Journal, Record, by_step, evaluates, start_step
from orchestrator.later import Later, LaterEvaluations
from orchestrator.learner import MOST_DEVIATION, Learner
from orchestrator.measure import Measured, Told
from orchestrator.progress import Progress

ADVERSARIAL = "adversarial"


class Branch:
    """A learner's branch, its folder and its journal."""

    def __init__(
        self,
        config: RunConfig,
        data: Dataset,
        learner: Learner,
        folder: Path,
        warn: Callable[[str], None],
        *,
        control: ControlName | None = None,
        start: tuple[Path, int] | None = None,
        evaluate_later: Later | None = None,
        show: Callable[[Path], None] = lambda _: None,
    ) -> None:
        """
        Args:
            learner: begins this branch now, and must not begin another before this one has ended.
            folder: gets metrics.jsonl, samples/ and checkpoints/.
            warn: told of damaged checkpoints.
            control: which one this is, or None for the run itself.
            start: folder and step of the checkpoint that a control starts from.
            evaluate_later: asks another process to evaluate a checkpoint; None: the learner does it.
            show: told of every file of samples.
        """
        self.config, self.data, self.folder, self.warn = config, data, folder, warn
        self.control = control
        where = "the run" if control is None else f"the control {control}"
        self._guards = Guards(config.guards, where, warn, stops=control is None)
        self.journal = Journal(folder / "metrics.jsonl")
        self._fingerprints = FingerprintFile(folder / "fingerprints.jsonl")
        # absolute: other processes, with folders of their own, write and read there
        self.checkpoints = (folder / "checkpoints").absolute()
        self.told = Told()
        self.parameters_sha256 = ""
        self.device: dict[str, Any] = {}
        self._learner = learner
        self._committed = time.monotonic()
        self._telling_s = 0.0  # what MLflow has taken of this thread's time since the last record
        self._evaluate_later, self._show = evaluate_later, show
        self._later = self._nothing_later()
        learner.begin(control, start)
        self.position = learner.position()

    def restore(self) -> int | None:
        """Continues from the newest whole checkpoint, and says its step; None if there is none. The journal
        is cut back to it.

        Raises:
            UserError: there are checkpoints, and none of them is whole.
        """
        found = self._learner.restore(self.checkpoints)
        if found.step is None and found.complaints:
            raise UserError(
                f"no checkpoint in {self.checkpoints} can be used: {'; '.join(found.complaints)}. "
                "Put one back, or start a new run"
            )
        for complaint in found.complaints:
            self.warn(f"{complaint}; using the checkpoint before it")
        if found.step is None:
            self.journal.truncate(0)
            self._fingerprints.cut(0)
            return None
        checkpoints.set_aside_newer(self.checkpoints, found.step)
        # evaluations of steps up to here that came in after the commit hold all the same
        cut, waiting = int(found.meta["journal"]), [int(step) for step in found.meta.get("waiting", ())]
        arrived: list[Record] = []
        if waiting:
            with suppress(ResumableError):  # behind the cut a damaged line is of no account
                arrived += (r for r in self.journal.read(cut) if r.step in waiting and evaluates(r))
        self.journal.truncate(cut, arrived)
        self._fingerprints.cut(found.step)
        self.told = Told.of(found.meta)
        self._ask_again([step for step in waiting if step not in {record.step for record in arrived}])
        self.position = self._learner.position()
        return found.step

    def train(self, stop: Callable[[], bool]) -> Iterator[Progress]:
        """Trains to the end, or until ``stop`` says so after some step; committed either way."""
        while (stage := self.position.stage) is not None:
            if stage == ADVERSARIAL and self.position.done == 0 and not self._evaluated(self.position.step):
                # the start of the adversarial stage is what everything after it is compared with
                self._evaluate_start()
            if stop():
                break
            progress, self.position = self._learner.advance()
            if (moved := progress.metrics.get("rollout/precision_deviation", 0.0)) > MOST_DEVIATION:
                self.warn(
                    f"step {progress.step}: scores in bfloat16 move a credit by {moved:.3f}; for exact ones "
                    "start again with scoring.precision=fp32"
                )
            progress = self._record(progress)
            try:
                yield progress
            except GeneratorExit:  # left between two steps: the state is at rest
                self._sign()
                raise
        self._take_in(wait=True)
        self.commit()
        self._sign()

    def _sign(self) -> None:
        """Notes what tells this result from others, and whether it is exact."""
        self.parameters_sha256 = self._learner.parameters_sha256()
        self.device = self._learner.describe()

    def _record(self, progress: Progress) -> Progress:
        """Evaluates if it is due, writes down and commits; returns what there is to show."""
        due = self._due(progress)
        if due and self._later is None:
            progress = replace(
                progress, metrics={**progress.metrics, **self._evaluate()}, evaluated=progress.step
            )
        self._fingerprints.append(progress.step, progress.fingerprints)
        telling = {"time/tracking": self._telling_s}
        progress, self._telling_s = replace(progress, metrics={**progress.metrics, **telling}), 0.0
        self._append(progress.step, progress.stage, progress.metrics)
        if due and self._later is not None:
            self._have_evaluated(progress.step, progress.stage)
        else:
            best = self.best() if due else None
            late = time.monotonic() - self._committed >= self.config.checkpoint.every_seconds
            if late or progress.done == progress.total or (best is not None and best.step == progress.step):
                self.commit()
        for step, metrics in self._take_in():
            progress = replace(progress, metrics={**progress.metrics, **metrics}, evaluated=step)
        return progress

    def commit(self) -> None:
        """Saves the state as it is now, and removes checkpoints that nobody needs."""
        waiting = set(self._later.waiting) if self._later is not None else set()
        meta = {
            "journal": self.journal.sync(),
            "waiting": sorted(waiting),
            **self.told.meta(),
        }
        self._learner.save(self.checkpoints, meta)
        if not checkpoints.folder(self.checkpoints, self.position.step).is_dir():
            raise PlacementError(
                f"the learner has committed step {self.position.step}, but here it is not in "
                f"{self.checkpoints}: the learner's machine does not share this folder. Choose one that all "
                "machines share with run.directory=FOLDER"
            )
        best = self.best()
        pinned = {self.start_step()} | ({best.step} if best else set()) | waiting
        checkpoints.prune(self.checkpoints, self.config.checkpoint.keep, pinned)
        self._committed = time.monotonic()

    def evaluations(self) -> list[Record]:
        """What is known of each step that was evaluated, by step."""
        return [record for record in by_step(self.journal.read()) if evaluates(record)]

    def best(self) -> Best | None:
        """The best evaluation of the algorithm's last stage, so far."""
        return best_evaluation(self.journal, self.config)

    def start_step(self) -> int:
        """The step at which the adversarial stage begins, as far as the run has come."""
        return start_step(self.journal.read())

    def samples_file(self, step: int) -> Path:
        """Where the samples of an evaluation at a step lie."""
        return self.folder / "samples" / f"step_{step:06d}.txt"

    def _evaluate_start(self) -> None:
        step, stage = self.position.step, self.position.previous
        if self._later is None:
            self._append(step, stage, self._evaluate())
            self.commit()
        else:
            self._have_evaluated(step, stage)

    def _evaluate(self) -> dict[str, float]:
        """The metrics of the generator as it is."""
        return self._keep(self.position.step, self._learner.evaluate())

    def _have_evaluated(self, step: int, stage: str) -> None:
        """Commits, and has the checkpoint evaluated while training goes on."""
        assert self._later is not None
        self._take_in(most=self._later.MOST - 1)  # an evaluator that is slower than training holds it up
        self._later.expect(step, stage)
        self.commit()
        self._later.ask()

    def _take_in(self, *, wait: bool = False, most: int | None = None) -> list[tuple[int, dict[str, float]]]:
        """Writes down the evaluations that have come in, each at its own step.

        Args:
            wait: for all of them.
            most: wait until no more than so many are under way.
        """
        if self._later is None:
            return []
        taken = []
        for step, stage, measured in self._later.take(0 if wait else most):
            metrics = self._keep(step, measured)
            self._append(step, stage, metrics)
            taken.append((step, metrics))
        return taken

    def _nothing_later(self) -> LaterEvaluations | None:
        """No evaluation is under way elsewhere."""
        later = self._evaluate_later
        return None if later is None else LaterEvaluations(self.checkpoints, later, self.warn)

    def _ask_again(self, steps: list[int]) -> None:
        """Evaluations that were under way when the run ended."""
        self._later = self._nothing_later()
        stages = {record.step: record.stage for record in self.journal.read()}
        for step in steps:
            if self._later is not None and checkpoints.folder(self.checkpoints, step).is_dir():
                self._later.expect(step, stages.get(step, ADVERSARIAL))
            else:
                self.warn(f"step {step} was not evaluated before the run ended, and is not now")
        if self._later is not None:
            self._later.ask()

    def _keep(self, step: int, measured: Measured) -> dict[str, float]:
        """The metrics of an evaluation, once its samples are on disk."""
        self.told = self.told.after(measured)
        path = self.samples_file(step)
        with full_disk_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in measured.lines), encoding="utf-8")
        started = time.perf_counter()
        self._show(path)
        self._telling_s += time.perf_counter() - started
        check_best_metric(self.config, measured.metrics)
        return measured.metrics

    def _append(self, step: int, stage: str, metrics: Mapping[str, float]) -> None:
        with full_disk_explained(self.journal.path):
            self.journal.append(step, stage, metrics)
        self._guards.check(step, metrics)

    def _evaluated(self, step: int) -> bool:
        waiting = self._later is not None and step in self._later.waiting
        return waiting or any(record.step == step for record in self.evaluations())

    def _due(self, progress: Progress) -> bool:
        every = {
            "pretrain_generator": self.config.evaluation.pretrain_every,
            "pretrain_discriminator": progress.total,
            ADVERSARIAL: self.config.evaluation.every,
        }[progress.stage]
        first = progress.done == 1 and progress.stage != "pretrain_discriminator"
        return first or progress.done % every == 0 or progress.done == progress.total
