"""Pictures of a run: what they have in common, and its learning curves.

Drawn from the run directory alone. Colours are Okabe and Ito's, which differ for colour-blind eyes too;
every line is named where it ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.history import History, RunHistory

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

GREY: Final = "#666666"
_GAP: Final = 0.068
"""Between two names, as a share of the height of the axes."""
NAMES: Final = {
    "eval/nll_oracle": "NLL_oracle (nats per token)",
    "eval/nll_test": "NLL_test (nats per token)",
    "eval/nll_validation": "NLL_validation (nats per token)",
    "eval/unique_rate": "unique rate",
    "eval/lm_score": "LM score (nats per token)",
    "eval/reverse_lm_score": "reverse LM score (nats per token)",
    "eval/self_bleu_4": "self-BLEU-4",
    "eval/self_bleu_5": "self-BLEU-5",
    "eval/bleu_5": "BLEU-5",
}


def learning_curve(run_directory: Path, to: Path) -> Path:
    """NLL_oracle above NLL_test over all steps; beside each the adversarial stage alone, with its controls.

    Without an oracle NLL_test above the unique rate. Dashed, on the left only: the oracle's own NLL.
    """
    run = RunHistory(run_directory)
    names = ("eval/nll_oracle", "eval/nll_test")
    if not run.own.series(names[0]):
        names = ("eval/nll_test", "eval/unique_rate")
    branched = next((before for stage, before, _ in run.own.stages() if stage == "adversarial"), None)
    wide = branched is not None
    figure = new_figure(11.0 if wide else 7.0, 6.4)
    panels = figure.subplots(2, 1 + wide, sharex="col", squeeze=False)
    for (whole, *zoomed), name in zip(panels, names, strict=True):
        _shade_stages(whole, run.own, labelled=name == names[0])
        whole.set_ylabel(NAMES[name])
        _draw_series(whole, run, name, branched)
        floor = run.own.series("eval/nll_oracle_floor")
        if name == "eval/nll_oracle" and floor:
            whole.axhline(floor[-1][1], color=GREY, linestyle="--", linewidth=1.2)
            whole.text(0.01, floor[-1][1], "the oracle's own", color=GREY, fontsize=9, va="bottom",
                       transform=whole.get_yaxis_transform())  # fmt: skip
        for axes in zoomed:
            ends, points = _draw_series(axes, run, name, branched)
            frame(axes, [point for point in points if point[0] >= (branched or 0)], sides=0.03)
            _name_ends(axes, ends)
    panels[1][0].set_xlabel("step: epochs, rounds, adversarial steps")
    if wide:
        panels[0][1].set_title("adversarial stage and controls", fontsize=9, color=GREY)
    name_run(figure, run)
    return save_figure(figure, to)


def _draw_series(
    axes: Axes, run: RunHistory, name: str, branched: float | None
) -> tuple[list[tuple[float, str, str]], list[tuple[float, ...]]]:
    """One metric of the run and its controls: where each line ends (value, label, colour), and all points."""
    own = run.own.series(name)
    start = [] if branched is None else run.own.series(name, until=branched)[-1:]
    paths = {branch: [*start, *history.series(name)] for branch, history in run.controls.items()} | {"": own}
    ends = []
    for branch, path in paths.items():
        if path:
            dots = {"zorder": 2} if branch else {"zorder": 3, "marker": ".", "markersize": 7}
            axes.plot([row[0] for row in path], [row[1] for row in path], **style(branch), **dots)
            ends.append((path[-1][1], run.label(branch), str(style(branch)["color"])))
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
                fontsize=9, color=GREY,
            )  # fmt: skip
    axes.set_xlim(0, width)


def frame(axes: Axes, points: Sequence[tuple[float, ...]], sides: float = 0.12) -> None:
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


def style(branch: str) -> dict[str, Any]:
    """How the line of a branch looks; "" is the run itself."""
    return {"color": COLOURS.get(branch, GREY), "linewidth": 1.3 if branch else 2.4}


def new_figure(width: float, height: float) -> Figure:
    """A figure without a window and without global state: nothing else in the process is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return FigureCanvasAgg(figure).figure


def name_run(figure: Figure, run: RunHistory) -> None:
    """Recipe, seed and data above all panels."""
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
