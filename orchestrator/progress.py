"""What training says after each unit of work, and how far and how fast a stage is from that alone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator.fingerprints import Seen

SHOWN: Final = (
    "eval/nll_oracle",
    "eval/nll_test",
    "eval/unique_rate",
    "g/entropy",
    "reward/mean",
    "d/accuracy_real",
    "d/accuracy_fake",
    "loss/generator",
    "loss/discriminator",
)
"""The main metrics, in their order on a line. All others are in metrics.jsonl."""

_UNITS: Final = {"pretrain_generator": "epoch", "pretrain_discriminator": "round", "adversarial": "step"}

_WINDOW: Final = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """One epoch, round or step is done, and the state is at rest.

    Attributes:
        step: one counter over all stages of the run, from 1; a control counts on from where it branched.
        stage: pretrain_generator, pretrain_discriminator or adversarial.
        done: units of the stage that are done, this one included.
        total: units of the stage: epochs, rounds or steps.
        branch: "" for the run itself, or the control's name.
        metrics: what was measured, by metric name; what was not measured or is not defined is absent.
        fingerprints: of what it was computed with and of what came out, see ``orchestrator.fingerprints``.
        evaluated: the step that metrics of the family eval/ belong to; None: to this one, if there are any.
    """

    step: int
    stage: str
    done: int
    total: int
    branch: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluated: int | None = None
    fingerprints: Seen = field(default_factory=dict)


class Pace:
    """Rate and time left, from a moving average over the last 20 units of a stage."""

    def __init__(self, now: float, done: int) -> None:
        """
        Args:
            now: seconds of a monotonic clock when the stage began.
            done: units that were done by then; more than 0 where a run is resumed.
        """
        self.began = now
        self._marks: deque[tuple[float, int]] = deque([(now, done)], maxlen=_WINDOW + 1)

    def add(self, now: float, done: int) -> None:
        """So many units were done at that time."""
        self._marks.append((now, done))

    @property
    def rate(self) -> float | None:
        """Units per second; None until a unit has taken measurable time."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - start) if last > first and end > start else None

    def left(self, total: int, now: float) -> float | None:
        """Seconds until the stage is done, seen from that time; never negative, None without a rate."""
        (end, last), rate = self._marks[-1], self.rate
        return None if rate is None else max(0.0, (total - last) / rate - (now - end))


class StageProgress:
    """One stage, or one control, as it goes on: its pace, latest and first values of every metric.

    Its mappings are replaced and never changed, so that another thread may draw them meanwhile.
    """

    def __init__(self, progress: Progress, began: float, before: Mapping[str, float] | None = None) -> None:
        """
        Args:
            progress: the first of the stage that is seen.
            began: seconds of a monotonic clock when the work on it began.
            before: what is known of the generator that the stage starts from.
        """
        self.name, self.branch = progress.stage, progress.branch
        self.pace = Pace(began, progress.done - 1)
        self.done, self.total = 0, progress.total
        self.unit = _UNITS.get(progress.stage, "unit")
        self.latest: Mapping[str, float] = before or {}
        self.first: Mapping[str, float] = before or {}
        self.evaluated: int | None = None
        """The step of the latest value of a metric of the family eval/."""

    def add(self, progress: Progress, now: float) -> None:
        """One more unit of the stage is done."""
        self.done, self.total = progress.done, progress.total
        self.pace.add(now, progress.done)
        new = {name: float(value) for name, value in progress.metrics.items() if value is not None}
        self.latest = {**self.latest, **new}
        self.first = {**new, **self.first}
        if progress.evaluated is not None or any(name.startswith("eval/") for name in new):
            self.evaluated = progress.evaluated or progress.step

    def evaluation(self) -> Mapping[str, float]:
        """The latest values of the family eval/, which hold until the generator changes."""
        return {name: value for name, value in self.latest.items() if name.startswith("eval/")}


def duration(seconds: float) -> str:
    """A time for people, two units at most: 4.2s, 41s, 3m05s, 2h07m, 3d04h."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, big, smaller, small in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{big}{whole % size // smaller:02}{small}"
    return f"{whole}s"


def number(value: float) -> str:
    """Four significant digits; nan and inf as such."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:#.4g}".rstrip(".") if 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def rollouts(metrics: Mapping[str, float]) -> dict[str, str]:
    """How the workers do: alive of those there are, units a second, versions of G and D that the last units
    were made with, and how far those lag behind the learner's. Empty where nothing was rolled out."""
    held = {name: value for name, value in metrics.items() if not math.isnan(value)}
    words: dict[str, str] = {}
    if "fault/workers_total" in held and "fault/workers_alive" in held:
        words["workers"] = f"{held['fault/workers_alive']:.0f}/{held['fault/workers_total']:.0f}"
    if "perf/units_per_s" in held:
        words["units/s"] = number(held["perf/units_per_s"])
    if "weights/generator_version" in held and "weights/discriminator_version" in held:
        words["versions"] = (
            f"G{held['weights/generator_version']:.0f},D{held['weights/discriminator_version']:.0f}"
        )
    lags = [held[f"staleness/{network}_max"] for network in ("generator", "discriminator")
            if f"staleness/{network}_max" in held]  # fmt: skip
    if lags:
        words["lag"] = f"{max(lags):.0f}"
    return words


def plain_line(progress: Progress, pace: Pace) -> str:
    """``stage step done/total key=value ...``, in a fixed order; a control is ``adversarial/<control>``.

    Metrics that were not measured at this step are absent. ``left`` is the time left of the stage.
    """
    stage = f"{progress.stage}/{progress.branch}" if progress.branch else progress.stage
    words = [stage, str(progress.step), f"{progress.done}/{progress.total}"]
    words += [f"{name}={number(value)}" for name, value in _main(progress.metrics)]
    words += [f"{name}={value}" for name, value in rollouts(progress.metrics).items()]
    if pace.rate is not None:
        words.append(f"s/{_UNITS.get(progress.stage, 'unit')}={number(1 / pace.rate)}")
        words.append(f"left={duration((progress.total - progress.done) / pace.rate)}")
    return " ".join(words)


def _main(metrics: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    return ((name, float(metrics[name])) for name in SHOWN if metrics.get(name) is not None)
