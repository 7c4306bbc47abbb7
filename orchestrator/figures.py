"""Pictures of a run: its learning curves, and quality against breadth beside its controls.

Drawn from the run directory alone. Colours are Okabe and Ito's, which differ for colour-blind eyes too;
every line is named where it ends.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = {
    "": "#0072B2",
    "constant_reward": "#E69F00",
    "shuffled_reward": "#009E73",
    "untrained_discriminator": "#D55E00",
    "colder_start": "#CC79A7",
}
"""Okabe and Ito 2008; "" is the run itself."""

_GREY: Final = "#666666"
_GAP: Final = 0.068
"""Between two names, as a share of the height of the axes."""
_NAMES: Final = {
    "eval/nll_oracle": "NLL_oracle (nats per token)",
    "eval/nll_test": "NLL_test (nats per token)",
    "eval/nll_validation": "NLL_validation (nats per token)",
    "eval/unique_rate": "unique rate",
}


@dataclass(frozen=True, slots=True)
class History:
    """What a branch measured: (step, stage, metrics) in the order of steps."""

    records: Sequence[tuple[int, str, Mapping[str, Any]]]

    @classmethod
    def read(cls, path: Path) -> History:
        """A metrics.jsonl. Torn lines are skipped; lines of one step (a late evaluation) become one."""
        found: dict[int, tuple[int, str, Mapping[str, Any]]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                    step, known = record["step"], found.get(record["step"], (0, "", {}))[2]
                    found[step] = (step, record["stage"], {**known, **record["metrics"]})
                except (ValueError, KeyError, TypeError):
                    continue
        return cls([found[step] for step in sorted(found)])

    def series(
        self, *names: str, stage: str | None = None, until: float = math.inf
    ) -> list[tuple[float, ...]]:
        """(step, value, ...) wherever all of the metrics are finite, of one stage or all, up to a step."""
        rows = []
        for step, at, metrics in self.records:
            values = tuple(float(metrics.get(name, math.nan)) for name in names)
            if step <= until and stage in (None, at) and all(map(math.isfinite, values)):
                rows.append((float(step), *values))
        return rows

    def stages(self) -> Iterator[tuple[str, int, int]]:
        """(stage, step before its first, its last step), in order."""
        for name in dict.fromkeys(stage for _, stage, _ in self.records):
            steps = [step for step, stage, _ in self.records if stage == name]
            yield name, steps[0] - 1, steps[-1]


def draw_pictures(run_directory: Path) -> list[Path]:
    """All pictures of a run, in its directory: learning_curve.png, and quality_diversity.png if defined."""
    curve = learning_curve(run_directory, run_directory / "learning_curve.png")
    plane = quality_diversity(run_directory, run_directory / "quality_diversity.png")
    return [curve] if plane is None else [curve, plane]


def learning_curve(run_directory: Path, to: Path) -> Path:
    """NLL_oracle above NLL_test over all steps; beside each the adversarial stage alone, with its controls.

    Without an oracle NLL_test above the unique rate. Dashed, on the left only: the oracle's own NLL.
    """
    run = _Run(run_directory)
    names = ("eval/nll_oracle", "eval/nll_test")
    if not run.own.series(names[0]):
        names = ("eval/nll_test", "eval/unique_rate")
    branched = next((before for stage, before, _ in run.own.stages() if stage == "adversarial"), None)
    wide = branched is not None
    figure = new_figure(11.0 if wide else 7.0, 6.4)
    panels = figure.subplots(2, 1 + wide, sharex="col", squeeze=False)
    for (whole, *zoomed), name in zip(panels, names, strict=True):
        _shade_stages(whole, run.own, labelled=name == names[0])
        whole.set_ylabel(_NAMES[name])
        _draw_series(whole, run, name, branched)
        floor = run.own.series("eval/nll_oracle_floor")
        if name == "eval/nll_oracle" and floor:
            whole.axhline(floor[-1][1], color=_GREY, linestyle="--", linewidth=1.2)
            whole.text(0.01, floor[-1][1], "the oracle's own", color=_GREY, fontsize=9, va="bottom",
                       transform=whole.get_yaxis_transform())  # fmt: skip
        for axes in zoomed:
            ends, points = _draw_series(axes, run, name, branched)
            _limit(axes, [point for point in points if point[0] >= (branched or 0)], sides=0.03)
            _name_ends(axes, ends)
    panels[1][0].set_xlabel("step: epochs, rounds, adversarial steps")
    if wide:
        panels[0][1].set_title("adversarial stage and controls", fontsize=9, color=_GREY)
    _title(figure, run)
    return save_figure(figure, to)


def quality_diversity(run_directory: Path, to: Path) -> Path | None:
    """NLL_oracle against NLL_test in the adversarial stage: the run, its controls, the start sampled colder.

    Lower left is better. None where one of the two is not defined, or there is no adversarial stage.
    """
    run = _Run(run_directory)
    across, down = "eval/nll_test", "eval/nll_oracle"
    own = run.own.series(across, down, stage="adversarial")
    if not own:
        return None
    start = run.own.series(across, down, until=own[0][0] - 1)[-1:]
    paths = {name: history.series(across, down) for name, history in run.controls.items()} | {"": own}
    figure = new_figure(8.6, 5.6)
    axes = figure.subplots()
    for name, path in paths.items():
        x, y = ([row[i] for row in [*start, *path]] for i in (1, 2))
        axes.plot(x, y, "-", **_style(name), label=run.label(name), zorder=2 if name else 3)
        axes.plot(x[1:], y[1:], ".", color=_style(name)["color"], markersize=5 if name else 8)
        axes.plot(x[-1], y[-1], "o", color=_style(name)["color"], markersize=7 if name else 10)
    for _, x0, y0 in start:
        axes.plot(x0, y0, "s", color="black", markersize=8, zorder=4, label="start: the pretrained generator")
    _limit(axes, [row[1:] for path in (start, *paths.values()) for row in path])
    if curve := run.colder(across, down):
        _draw_temperatures(axes, curve)
    axes.set_xlabel(_NAMES[across] + ", on held-out data")
    axes.set_ylabel(_NAMES[down])
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)
    axes.text(
        0.02, 0.02, "lower left is better", transform=axes.transAxes, color=_GREY, fontsize=9, style="italic"
    )
    _title(figure, run)
    return save_figure(figure, to)


class _Run:
    """What a run directory says, as far as it is there."""

    def __init__(self, directory: Path) -> None:
        try:
            self.summary: Mapping[str, Any] = json.loads(
                (directory / "summary.json").read_text(encoding="utf-8")
            )
        except (OSError, ValueError):
            self.summary = {}
        self.own = History.read(directory / "metrics.jsonl")
        files = {path.parent.name: path for path in sorted(directory.glob("controls/*/metrics.jsonl"))}
        order = [
            *(name for name in COLOURS if name in files),
            *(name for name in files if name not in COLOURS),
        ]
        self.controls = {name: History.read(files[name]) for name in order}

    def label(self, branch: str) -> str:
        """The name of a line."""
        return branch.replace("_", " ") or str(
            self.summary.get("algorithm") or self.summary.get("recipe") or "run"
        )

    def colder(self, *names: str) -> list[tuple[float, ...]]:
        """(temperature, value, ...) of the start sampled colder."""
        rows = []
        for point in (self.summary.get("curves") or {}).get("colder_start") or ():
            row = tuple(float(point.get(name, math.nan)) for name in ("temperature", *names))
            if all(map(math.isfinite, row)):
                rows.append(row)
        return rows


def _draw_series(
    axes: Axes, run: _Run, name: str, branched: float | None
) -> tuple[list[tuple[float, str, str]], list[tuple[float, ...]]]:
    """One metric of the run and its controls: where each line ends (value, label, colour), and all points."""
    own = run.own.series(name)
    start = [] if branched is None else run.own.series(name, until=branched)[-1:]
    paths = {branch: [*start, *history.series(name)] for branch, history in run.controls.items()} | {"": own}
    ends = []
    for branch, path in paths.items():
        if path:
            dots = {"zorder": 2} if branch else {"zorder": 3, "marker": ".", "markersize": 7}
            axes.plot([row[0] for row in path], [row[1] for row in path], **_style(branch), **dots)
            ends.append((path[-1][1], run.label(branch), str(_style(branch)["color"])))
    return ends, [row for path in paths.values() for row in path]


def _shade_stages(axes: Axes, history: History, *, labelled: bool) -> None:
    """Every other stage on grey. A stage too narrow for its name has it at an angle."""
    stages = list(history.stages())
    width = max((last for _, _, last in stages), default=1)
    for number, (name, before, last) in enumerate(stages):
        if number % 2:
            axes.axvspan(before, last, color="#efefef", linewidth=0, zorder=0)
        if labelled:
            narrow = (last - before) / width < 0.22
            axes.text(
                (before + last) / 2, 1.02, name.replace("_", " "), transform=axes.get_xaxis_transform(),
                ha="left" if narrow else "center", va="bottom", rotation=18 if narrow else 0,
                fontsize=9, color=_GREY,
            )  # fmt: skip
    axes.set_xlim(0, width)


def _draw_temperatures(axes: Axes, curve: Sequence[tuple[float, ...]]) -> None:
    """The start sampled colder, each temperature inside the picture named."""
    colour = COLOURS["colder_start"]
    x, y = [row[1] for row in curve], [row[2] for row in curve]
    axes.plot(x, y, **_style("colder_start"), marker="d", markersize=5, label="colder start", zorder=1)
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for temperature, x0, y0 in curve:
        if left <= x0 <= right and low <= y0 <= high and temperature != 1:
            axes.annotate(
                f"T={temperature:g}", (x0, y0), (-6, -4), textcoords="offset points", color=colour,
                fontsize=8, ha="right", va="top",
            )  # fmt: skip


def _limit(axes: Axes, points: Sequence[tuple[float, ...]], sides: float = 0.12) -> None:
    """Room for these points and some more, as a share of their range; what lies outside is cut off."""
    for column, share, limit in ((0, sides, axes.set_xlim), (1, 0.12, axes.set_ylim)):
        values = [point[column] for point in points]
        if not values:
            continue
        room = share * (max(values) - min(values)) or 0.05
        limit(min(values) - room, max(values) + room)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names right of the axes, moved apart where lines end close together."""
    low, high = axes.get_ylim()
    ends = sorted(ends)
    heights = [(value - low) / (high - low) for value, _, _ in ends]
    places: list[float] = []
    for at in heights:
        places.append(max(at, places[-1] + _GAP) if places else at)
    shift = (sum(places) - sum(heights)) / max(1, len(places))  # apart to both sides
    top = 1.0 + _GAP
    for number in reversed(range(len(places))):
        top = places[number] = min(places[number] - shift, top - _GAP)
    for (_, label, colour), at, height in zip(ends, heights, places, strict=True):
        line = {
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.7,
            "shrinkA": 0,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        }
        axes.annotate(
            label, (1.0, at), (1.03, height), "axes fraction", "axes fraction", line, annotation_clip=False,
            color=colour, fontsize=9, va="center",
        )  # fmt: skip


def _style(branch: str) -> dict[str, Any]:
    return {"color": COLOURS.get(branch, _GREY), "linewidth": 1.3 if branch else 2.4}


def new_figure(width: float, height: float) -> Figure:
    """A figure without a window and without global state: nothing else in the process is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return FigureCanvasAgg(figure).figure


def _title(figure: Figure, run: _Run) -> None:
    data = f", on {run.summary['data']}" if run.summary.get("data") else ""
    text = f"{run.summary.get('recipe', 'run')}, seed {run.summary.get('seed', '?')}{data}"
    figure.suptitle(text, x=0.01, ha="left", fontsize=11, parse_math=False)


def save_figure(figure: Figure, to: Path) -> Path:
    """Writes it, with no more lines around it than it needs."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    to.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():  # data may be named in a script that the font lacks
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(to, format="png")
    return to
