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

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from orchestrator import checkpoints
from orchestrator.branch import Branch
from orchestrator.colder_start import colder_curve, matching_point
from orchestrator.config import ControlName, RunConfig
from orchestrator.controls import TRAINED_CONTROLS, AlteredPool
from orchestrator.data import Dataset, load_data
from orchestrator.errors import GuardError, UserError
from orchestrator.progress import Progress
from orchestrator.publication import Publication
from orchestrator.report import draw_pictures
from orchestrator.run_directory import RunDirectory
from orchestrator.sampling import export
from orchestrator.state import TrainState
from orchestrator.summary import summarize
from orchestrator.trainer import Trainer
from workers import philox
from workers.pool import InProcessPool, Pool
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
        self.publication = Publication(config, directory, say=say, warn=warn)
        self._stop_requested = False
        self._started = time.monotonic()

    @classmethod
    def create(
        cls, config: RunConfig, wanted: Path | None = None, *, say: Say = _silent, warn: Say = _silent
    ) -> Self:
        """A new run in a new directory; see ``RunDirectory.create``."""
        return cls(config, RunDirectory.create(config, wanted), say=say, warn=warn)

    @classmethod
    def resume(cls, path: Path, *, say: Say = _silent, warn: Say = _silent) -> Self:
        """A run that was interrupted or stopped, with the configuration that it was started with.

        Raises:
            UserError: there is no such run, it is being trained, or it has finished.
        """
        directory, config = RunDirectory.open(path)
        if (directory.read_json("summary.json") or {}).get("status") == "finished":
            raise UserError(
                f"{path} has finished: there is nothing to resume. `advseq evaluate {path}` and "
                f"`advseq sample {path}` use it; a new run can start from it with init.run={path}"
            )
        directory.hold()
        return cls(config, directory, say=say, warn=warn)

    def stop(self) -> None:
        """Asks the run to commit and end after the step that is under way."""
        self._stop_requested = True

    def __iter__(self) -> Iterator[Progress]:
        """Trains to the end, or until :meth:`stop` or ``run.max_minutes`` end it after a commit."""
        status, reason = "failed", "the process ended"
        try:
            settle(self.config.learner.threads)
            self.directory.event("started", attempt=self.directory.new_attempt())
            yield from self._work()
            status, reason = ("stopped", "asked to stop") if self._must_stop() else ("finished", "")
        except GeneratorExit:
            status, reason = "stopped", "its consumer closed it"
            raise
        except BaseException as problem:
            status = "diverged" if isinstance(problem, GuardError) else "failed"
            reason = f"{type(problem).__name__}: {problem}"
            raise
        finally:
            self._end(status, reason)

    def _work(self) -> Iterator[Progress]:
        data = load_data(self.config.data, self.say)
        for note in data.notes:
            self.say(note)
        self._same_data(data)
        state = TrainState.fresh(self.config, data.alphabet, data.length)
        self._initialise(state)
        with ExitStack() as stack:
            pool = stack.enter_context(self._pool(state))
            rng = philox.generator((self.config.seed, "references"))
            pool.refer(state.algorithm.choose_references(data.train, data.alphabet.end, rng))
            trainer = Trainer(self.config, state, pool, data.train)
            main = Branch(self.config, data, trainer, self.directory.path, self.warn)
            if main.restore():
                self.say(f"continuing {self.directory.path} at step {state.step}")
                self.directory.event("resumed", step=state.step)
            self.publication.open(data)
            for progress in main.train(self._must_stop):
                if (shown := main.samples_file(progress.step)).is_file():
                    self.publication.samples(shown)
                yield progress
            controls: dict[str, Metrics] = {}
            curves: dict[str, list[Metrics]] = {}
            if not self._must_stop():
                controls, curves = yield from self._controls(main, pool)
            self.summary = summarize(self.config, main, controls, curves, wall_s=self._wall())
            if not self._must_stop():
                self._export(main)

    def _controls(
        self, main: Branch, pool: Pool
    ) -> Generator[Progress, None, tuple[dict[str, Metrics], dict[str, list[Metrics]]]]:
        """Runs what the configuration asks for, or reads what an earlier attempt has finished."""
        ends: dict[str, Metrics] = {}
        curves: dict[str, list[Metrics]] = {}
        chosen = self.config.chosen_controls() if "adversarial" in main.trainer.state.algorithm.stages else ()
        if not chosen or not self.config.steps:
            return ends, curves
        start = checkpoints.load(main.checkpoints, main.start_step())
        for name in chosen:
            folder = self.directory.control(name)
            finished = _read(folder / "summary.json")
            if finished is None:
                state = TrainState.fresh(self.config, main.data.alphabet, main.data.length)
                state.restore(start.tensors, start.meta["counters"])
                if name == "colder_start":
                    finished = self._colder_start(main, state, pool)
                else:
                    finished = yield from self._trained_control(name, main, state, pool)
                if finished is None:  # stopped half-way; its checkpoint waits
                    break
                self.directory.write_json(f"controls/{name}/summary.json", finished)
            ends[name], curves[name] = finished["metrics"], finished["curve"]
        return ends, curves

    def _trained_control(
        self, name: ControlName, main: Branch, state: TrainState, pool: Pool
    ) -> Generator[Progress, None, dict[str, Any] | None]:
        control = TRAINED_CONTROLS[name]
        if control.fresh_discriminator:
            with philox.global_random((self.config.seed, "control", name)):
                fresh = self.config.discriminator.build(main.data.alphabet, main.data.length)
            state.discriminator.load_state_dict(fresh.state_dict())
        trainer = Trainer(
            self.config,
            state,
            AlteredPool(pool, control.alter) if control.alter else pool,
            main.data.train,
            branch=name,
            trains_discriminator=control.trains_discriminator,
        )
        folder = self.directory.control(name)
        branch = Branch(self.config, main.data, trainer, folder, self.warn)
        resumed = branch.restore()
        if resumed is None:
            # the control's curve begins where the run's adversarial stage did
            first = next(record for record in main.evaluations() if record.step == main.start_step())
            branch.journal.append(first.step, first.stage, first.metrics)
        self.say(f"control: {control.label} ...")
        with self.publication.control(name):
            yield from branch.train(self._must_stop)
        if self._must_stop():
            return None
        curve = [dict(record.metrics) for record in branch.evaluations()]
        return {"metrics": curve[-1], "curve": curve, "parameters_sha256": state.parameters_sha256()}

    def _colder_start(self, main: Branch, state: TrainState, pool: Pool) -> dict[str, Any]:
        self.say("control: colder start ...")
        pool.publish(state.generator, state.discriminator, None, version=state.version)
        where = (state.generator, pool, main.data, self.config.evaluation, (self.config.seed, "evaluation"))
        curve = colder_curve(*where)
        final = main.evaluations()[-1].metrics
        return {"metrics": matching_point(final, curve, *where), "curve": curve}

    def _export(self, main: Branch) -> None:
        """The best generator as a folder of its own, and everything that people look at."""
        best = main.best()
        generator = main.trainer.state.generator
        if best is not None and best.step != main.trainer.state.step:
            state = TrainState.fresh(self.config, main.data.alphabet, main.data.length)
            found = checkpoints.load(main.checkpoints, best.step)
            state.restore(found.tensors, found.meta["counters"])
            generator = state.generator
        export(generator, self.config.generator, main.data, self.directory.path / "model")

    def _initialise(self, state: TrainState) -> None:
        """Networks of another run, where the configuration names one."""
        if self.config.init.run is None:
            return
        directory, _ = RunDirectory.open(self.config.init.run)
        found, _ = checkpoints.latest(directory.checkpoints)
        if found is None:
            raise UserError(f"init.run = {self.config.init.run}: that run has no checkpoint yet")
        for name in ("generator", "discriminator"):
            prefix = f"{name}/"
            tensors = {k.removeprefix(prefix): v for k, v in found.tensors.items() if k.startswith(prefix)}
            try:
                state.networks()[name].load_state_dict(tensors)
            except RuntimeError as problem:
                raise UserError(
                    f"init.run = {self.config.init.run}: its {name} does not fit this recipe's ({problem})"
                ) from None
        if state.policy is not None:
            state.policy.load_state_dict(state.generator.state_dict())

    def _same_data(self, data: Dataset) -> None:
        """Keeps the vocabulary and the data's digest, or holds them against those that were kept.

        Raises:
            UserError: the run began with other data.
        """
        identity = {"name": data.name, "digest": data.digest, "source": data.source}
        known = self.directory.read_json("data.json")
        if known is None:
            if data.codec is not None:
                data.codec.save(self.directory.path / "codec.json")
            self.directory.write_json("data.json", identity)
        elif known["digest"] != data.digest:
            raise UserError(
                f"{data.source} is not what this run began with (training data {known['digest']}, now "
                f"{data.digest}): put the file back as it was, or start a new run"
            )

    def _pool(self, state: TrainState) -> InProcessPool:
        rollout = self.config.rollout
        return InProcessPool(
            state.generator,
            state.discriminator,
            threads=self.config.learner.threads,
            unit=rollout.unit,
            sample_unit=rollout.sample_unit,
            memory=rollout.memory_mb * 2**20,
        )

    def _must_stop(self) -> bool:
        limit = self.config.run.max_minutes
        return self._stop_requested or (limit is not None and time.monotonic() - self._started > 60 * limit)

    def _wall(self) -> float:
        earlier = (self.directory.read_json("summary.json") or {}).get("wall_s", 0.0)
        return float(earlier) + time.monotonic() - self._started

    def _end(self, status: str, reason: str) -> None:
        """Writes the summary and closes the tracker; never hides the exception that brought us here."""
        if not self.summary:
            self.summary = {"recipe": self.config.recipe, "seed": self.config.seed, "wall_s": self._wall()}
        self.summary = {**self.summary, "status": status, "reason": reason}
        try:
            self.directory.write_json("summary.json", self.summary)
            self.directory.event(status, reason=reason)
            if status == "finished":
                self.say("drawing pictures ...")
                draw_pictures(self.directory.path)
        except Exception as problem:
            self.warn(f"the summary or its pictures could not be written: {problem}")
        try:
            self.publication.close(self.summary)
        finally:
            self.directory.release()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return dict(found)
