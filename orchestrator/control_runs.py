"""Running the controls of a run, each a branch from where its adversarial stage began.

What each one changes is in ``orchestrator.controls``. A finished control has a ``summary.json``; one that
was left half-way has a checkpoint, and goes on from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from algorithms.registry import build
from orchestrator.branch import Branch
from orchestrator.colder_start import colder_curve, matching_point
from orchestrator.config import ControlName, RunConfig
from orchestrator.controls import TRAINED_CONTROLS
from orchestrator.errors import GuardError
from orchestrator.processes import Processes
from orchestrator.progress import Progress
from orchestrator.publication import Publication
from orchestrator.run_directory import RunDirectory

Metrics: TypeAlias = dict[str, float]


@dataclass(slots=True)
class ControlResults:
    """What the controls came to, as far as they were run.

    Attributes:
        ends: each one's final metrics; for the colder start those of the matching temperature.
        curves: each one's evaluations in order.
        temperatures: the run's own end at each temperature of the colder start's curve.
    """

    ends: dict[str, Metrics] = field(default_factory=dict)
    curves: dict[str, list[Metrics]] = field(default_factory=dict)
    temperatures: list[Metrics] = field(default_factory=list)


Stop: TypeAlias = Callable[[], bool]


class ControlRuns:
    """The controls that a run's configuration asks for."""

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        main: Branch,
        processes: Processes,
        publication: Publication,
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        """
        Args:
            main: the run itself, trained to its end.
            processes: the run's; its learner turns to one control after the other.
        """
        self.config, self.directory, self.main, self.processes = config, directory, main, processes
        self.publication, self.say, self.warn = publication, say, warn

    def train(self, stop: Stop) -> Generator[Progress, None, ControlResults]:
        """Runs the controls, or reads those that an earlier attempt has finished; fewer where ``stop`` ended
        it."""
        results = ControlResults()
        for name in self._chosen():
            folder = self.directory.control(name)
            finished = _read(folder / "summary.json")
            if finished is None:
                if name == "colder_start":
                    finished = self._colder_start(stop)
                else:
                    finished = yield from self._trained(name, folder, stop)
                if finished is None:  # stopped half-way; its checkpoint waits
                    break
                self.directory.write_json(f"controls/{name}/summary.json", finished)
            results.ends[name], results.curves[name] = finished["metrics"], finished["curve"]
            results.temperatures += finished.get("end_curve", [])
        return results

    def _chosen(self) -> list[ControlName]:
        """Those that make sense: without a discriminator, an untrained one would be the run itself."""
        algorithm = build(self.config.algorithm)
        if "adversarial" not in algorithm.stages or not self.config.steps:
            return []
        chosen = list(self.config.chosen_controls())
        if chosen and algorithm.relaxes:
            self.say(f"{algorithm.config.name} gives no rewards: there are no controls")
            return []
        if not algorithm.has_discriminator and "untrained_discriminator" in chosen:
            chosen.remove("untrained_discriminator")
            self.say(f"{algorithm.config.name} has no discriminator: no control with an untrained one")
        return chosen

    def _start(self) -> tuple[Path, int]:
        """The checkpoint of where the run's adversarial stage began."""
        return self.main.checkpoints, self.main.start_step()

    def _trained(
        self, name: ControlName, folder: Path, stop: Stop
    ) -> Generator[Progress, None, dict[str, Any] | None]:
        branch = Branch(
            self.config,
            self.main.data,
            self.processes.learner,
            folder,
            self.warn,
            control=name,
            start=self._start(),
            evaluate_later=self.processes.evaluate_later,
        )
        if branch.restore() is None:
            # the control's curve begins where the run's adversarial stage did
            first = next(r for r in self.main.evaluations() if r.step == self.main.start_step())
            branch.journal.append(first.step, first.stage, first.metrics)
        self.say(f"control: {TRAINED_CONTROLS[name].label} ...")
        try:
            with self.publication.control(name, stop):
                yield from branch.train(stop)
        except GuardError as problem:  # what it has shown by then is its result, and the run's is complete
            self.warn(f"{problem}. The control {name} ends here")
        else:
            if stop():
                return None
        curve = [dict(record.metrics) for record in branch.evaluations()]
        return {"metrics": curve[-1], "curve": curve, "parameters_sha256": branch.parameters_sha256}

    def _colder_start(self, stop: Stop) -> dict[str, Any] | None:
        self.say("control: the start sampled colder ...")
        learner = self.processes.learner
        # with an oracle NLL_oracle against NLL_test is the picture; without one it takes all metrics
        thorough = self.main.data.oracle is None and self.config.evaluation.thorough != "never"

        def at(temperature: float) -> Metrics:
            measured = learner.evaluate(temperature, judged=False, thorough=thorough).metrics
            return {"temperature": temperature, **measured}

        learner.begin("colder_start", (self.main.checkpoints, self.main.position.step))
        own = colder_curve(at, stop)
        learner.begin("colder_start", self._start())
        curve = colder_curve(at, stop)
        if own is None or curve is None:
            return None
        final = self.main.evaluations()[-1].metrics
        return {"metrics": matching_point(final, curve, at), "curve": curve, "end_curve": own}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return None
