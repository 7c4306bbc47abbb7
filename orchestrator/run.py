"""One run, from a configuration to its summary.

    from orchestrator.recipe import load
    from orchestrator.run import Run

    run = Run.create(load("seqgan_quick"))
    for progress in run:                     # leave the loop to stop: what was committed stays
        ...
    run.summary["metrics"]["eval/nll_oracle"]

The stages, then the controls, each a branch with its own journal and checkpoints; then the summary,
which is written last. ``Run.resume`` finds whatever was committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from algorithms.registry import build
from orchestrator import checkpoints
from orchestrator.branch import Branch
from orchestrator.checkpoints import DamagedCheckpoint, full_disk_explained
from orchestrator.config import RunConfig
from orchestrator.control_runs import ControlResults, ControlRuns
from orchestrator.data import Dataset, load_data
from orchestrator.errors import GuardError, ResumableError, UserError
from orchestrator.pictures import draw_pictures
from orchestrator.processes import Processes, open_processes
from orchestrator.progress import Progress
from orchestrator.publication import Publication
from orchestrator.recipe import elsewhere
from orchestrator.recovery import Recovery
from orchestrator.run_directory import RunDirectory
from orchestrator.sampling import export
from orchestrator.stall import GRACE_S, StallWatch
from orchestrator.start_from import start_from
from orchestrator.state import TrainState
from orchestrator.summary import summarize
from orchestrator.trained import searched_negatives
from workers.calls import ActorHung, ActorLost
from workers.failures import WorkersLost
from workers.process import settle

Say = Callable[[str], None]
Metrics = dict[str, float]


def _silent(_: str) -> None:
    """Says nothing."""


class Run:
    """A run in its directory, which this process holds until the run has been iterated to its end."""

    def __init__(
        self, config: RunConfig, directory: RunDirectory, *, say: Say = _silent, warn: Say = _silent
    ) -> None:
        self.config, self.directory, self.say, self.warn = config, directory, say, warn
        self.summary: dict[str, Any] = {}
        self._data: Dataset | None = None
        self._main: Branch | None = None
        self.publication = Publication(config, directory, say=say, warn=warn)
        self._stop_requested = False
        self.ends_process = False
        """Whether a run that has stalled may end the process where nothing else is left to do."""
        self._started = time.monotonic()

    @classmethod
    def create(
        cls, config: RunConfig, wanted: Path | None = None, *, say: Say = _silent, warn: Say = _silent
    ) -> Self:
        """A new run in a new directory; see ``RunDirectory.create``.

        The data are read and the networks built before anything is made, so that a mistake leaves nothing.
        """
        settle(config.learner.threads)  # sequences that are drawn from an oracle are the same everywhere
        data = load_data(config.data, say)
        start_from(config, TrainState.fresh(config, data.alphabet, data.length), data)
        if config.pretrain.beam_negatives:
            searched_negatives(config, data)
        run = cls(config, RunDirectory.create(config, wanted), say=say, warn=warn)
        run._data = data
        return run

    @classmethod
    def resume(
        cls,
        path: Path,
        *,
        overrides: Sequence[str] = (),
        say: Say = _silent,
        warn: Say = _silent,
    ) -> Self:
        """A run that was interrupted or stopped, with the configuration that it was started with.

        Args:
            overrides: ``a.b=value`` of settings that no result depends on, such as ``rollout.workers=0``.

        Raises:
            UserError: there is no such run, it is being trained, or it has finished and MLflow has all of it.
        """
        directory, config = RunDirectory.open(path)
        run = cls(elsewhere(config, overrides), directory, say=say, warn=warn)
        if run.finished and not run.publication.incomplete():
            raise UserError(
                f"{path} has finished: there is nothing to resume. `advseq evaluate {path}` and "
                f"`advseq sample {path}` use it; a new run can start from it with init.run={path}"
            )
        directory.hold()
        return run

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return (self.directory.read_json("summary.json") or {}).get("status") == "finished"

    def stop(self) -> None:
        """Asks the run to commit and end after the step that is under way."""
        self._stop_requested = True

    def __iter__(self) -> Iterator[Progress]:
        """Trains to the end, or until :meth:`stop` or ``run.max_minutes`` end it after a commit."""
        if self.finished:
            self._catch_up()
            return
        status, reason = "failed", "the process ended"
        try:
            settle(self.config.learner.threads)
            self.directory.event(
                "started", attempt=self.directory.new_attempt(), workers=self.config.rollout.workers
            )
            watch = StallWatch(
                self.config.run.stall_s,
                self.directory.stacks,
                ended=self._cut_off if self.ends_process else None,
            )
            watch.progressed()
            try:
                for progress in self._work():
                    watch.pause()  # the time that a consumer takes is its own
                    yield progress
                    watch.progressed()
            finally:
                watch.close()
            status, reason = ("stopped", "asked to stop") if self._must_stop() else ("finished", "")
        except GeneratorExit:
            status, reason = "stopped", "its consumer closed it"
            raise
        except BaseException as problem:
            asked = isinstance(problem, KeyboardInterrupt | SystemExit) or (
                self._stop_requested and isinstance(problem, ResumableError)
            )
            status = "stopped" if asked else "diverged" if isinstance(problem, GuardError) else "failed"
            reason = f"{type(problem).__name__}: {problem}"
            raise
        finally:
            self._end(status, reason)

    def _work(self) -> Iterator[Progress]:
        data = self._data or load_data(self.config.data, self.say)
        for note in data.notes:
            self.say(note)
        for remark in build(self.config.algorithm).remarks():
            self.warn(remark)
        self._remember(data)
        with open_processes(self.config, data, self.directory, self.say, self.warn) as processes:
            recovery = Recovery(self.config, self.directory, processes, self.warn)
            while True:
                try:
                    recovery.prepare()
                    for progress in self._train(data, processes):
                        recovery.passed(progress)
                        yield progress
                    return
                except (ActorLost, ActorHung, WorkersLost) as problem:
                    if self._stop_requested or not recovery.possible(problem):
                        raise

    def _train(self, data: Dataset, processes: Processes) -> Iterator[Progress]:
        main = self._main = Branch(
            self.config,
            data,
            processes.learner,
            self.directory.path,
            self.warn,
            evaluate_later=processes.evaluate_later,
            show=self.publication.samples,
        )
        if (step := main.restore()) is None:
            if processes.learner.start_from():
                main.commit()  # the other run may go on, or go: this one never looks at it again
        else:
            self.say(f"continuing {self.directory.path} at step {step}")
            self.directory.event("resumed", step=step)
        if self.publication.opened:
            self.publication.rewind()
        else:
            self.publication.open(data.identity())
        yield from main.train(self._must_stop)
        controls = ControlResults()
        if not self._must_stop():
            runs = ControlRuns(
                self.config, self.directory, main, processes, self.publication, self.say, self.warn
            )
            controls = yield from runs.train(self._must_stop)
        done = not self._must_stop()
        self.summary = summarize(self.config, main, controls, complete=done, wall_s=self._wall())
        if done:
            self._export(main)

    def _export(self, main: Branch) -> None:
        """The best generator as a folder of its own, and everything that people look at."""
        best = main.best()
        step = best.step if best is not None else main.position.step
        state = TrainState.fresh(self.config, main.data.alphabet, main.data.length)
        try:
            found = checkpoints.load(main.checkpoints, step)
        except DamagedCheckpoint as damage:
            self.warn(f"{damage}. It was the best: the model is that of step {main.position.step} instead")
            found = checkpoints.load(main.checkpoints, main.position.step)
        state.restore(found.tensors, found.meta["counters"])
        folder, turns = self.directory.path / "model", self.config.data.turns
        export(state.generator, self.config.generator, main.data, folder, turns)

    def _remember(self, data: Dataset) -> None:
        """Keeps the vocabulary and what tells the data from others; a resumed run must have the same."""
        if not self.directory.same_data(data.identity()):
            if data.codec is not None:
                with full_disk_explained(self.directory.path):
                    data.codec.save(self.directory.path / "codec.json")
            self.directory.write_json("data.json", data.identity())

    def _catch_up(self) -> None:
        """Sends to MLflow what it lacks of a finished run."""
        self.say(f"{self.directory.path} has finished; MLflow lacks a part of it")
        self.summary = self.directory.read_json("summary.json") or {}
        try:
            self.publication.catch_up(self.directory.read_json("data.json") or {}, self.summary)
        finally:
            self.directory.release()

    def _cut_off(self, reason: str) -> None:
        """Ends what can be ended of a run whose thread does not come back; the process ends after this."""
        self.warn(reason)
        ending = threading.Thread(target=self._end, args=("failed", reason), daemon=True)
        ending.start()
        ending.join(GRACE_S)

    def _must_stop(self) -> bool:
        limit = self.config.run.max_minutes
        return self._stop_requested or (limit is not None and time.monotonic() - self._started > 60 * limit)

    def _wall(self) -> float:
        earlier = (self.directory.read_json("summary.json") or {}).get("wall_s")
        return (earlier if isinstance(earlier, float) else 0.0) + time.monotonic() - self._started

    def _end(self, status: str, reason: str) -> None:
        """Writes the summary and closes the tracker; never hides the exception that brought us here."""
        wall_s = self._wall()
        if not self.summary and status == "stopped" and self._main is not None:
            # left by its consumer between two steps: the state is at rest
            self.summary = summarize(self.config, self._main, ControlResults(), complete=False, wall_s=wall_s)
        if not self.summary:
            known = {"recipe": self.config.recipe, "seed": self.config.seed, "wall_s": wall_s}
            self.summary = (self.directory.read_json("summary.json") or {}) | known
        self.summary = {**self.summary, "status": status, "reason": reason}
        try:
            self.directory.write_json("summary.json", self.summary)
            self.directory.event(status, reason=reason)
            if status == "finished":
                self.say("drawing pictures ...")
                draw_pictures(self.directory.path)
        except Exception as problem:
            if status == "finished":
                raise
            self.warn(f"the summary could not be written: {problem}")
        try:
            self.publication.close(self.summary)
        finally:
            self.directory.release()
