"""Quality against diversity: a point says little, since a colder generator moves along the curve.

Caccia et al. 2020 ("Language GANs Falling Short"): compare a generator with its maximum-likelihood start at
every temperature of both. On an oracle the pair is NLL_oracle and NLL_test; on text BLEU-5 and self-BLEU-5
(local), and the LM score and the reverse LM score (global). Each axis is turned so that lower is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.figures import COLOURS, GREY, NAMES, frame, name_run, new_figure, save_figure, style
from orchestrator.history import COLDER, RunHistory
from orchestrator.margin import plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[Mapping[str, Any]]
Pair = tuple[str, str]

TEXT_PAIRS: Final[tuple[Pair, ...]] = (
    ("eval/self_bleu_5", "eval/bleu_5"),
    ("eval/reverse_lm_score", "eval/lm_score"),
)
HIGHER_IS_BETTER: Final = {"eval/bleu_5"}


def quality_diversity(run_directory: Path, to: Path) -> Path | None:
    """The run's adversarial stage, its controls, and the temperatures of its start and end; lower left is
    better. Beside it, for text, the temperatures alone on the two pairs that are used for text.

    None where no pair of metrics is defined, or there is no adversarial stage.
    """
    run = RunHistory(run_directory)
    final = run.own.last("adversarial")
    pair = None if final is None else plane(final)
    if pair is None:
        return None
    text = pair[1] != "eval/nll_oracle" and bool(run.temperatures(end=True))
    figure = new_figure(16.0 if text else 8.6, 5.6)
    panels = figure.subplots(1, 1 + text * len(TEXT_PAIRS), squeeze=False)[0]
    _draw_stage(panels[0], run, pair, beside=not text)
    for axes, others in zip(panels[1:], TEXT_PAIRS, strict=False):
        for branch, end in ((COLDER, False), ("", True)):
            label = run.label(branch) + " at each temperature" * end
            draw_temperatures(axes, run.temperatures(end=end), others, branch, label, named=end)
        draw_real(axes, run.summary.get("real") or {}, others)
        name_axes(axes, others)
        axes.legend(frameon=False, fontsize=8)
    name_run(figure, run)
    return save_figure(figure, to)


def name_axes(axes: Axes, pair: Pair) -> None:
    """What stands on each, and the corner to be in."""
    across, down = ((f"-{NAMES[name]}" if name in HIGHER_IS_BETTER else NAMES[name]) for name in pair)
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    axes.text(
        0.02, 0.02, "lower left is better", transform=axes.transAxes, color=GREY, fontsize=9, style="italic"
    )


def places(points: Points, pair: Pair) -> list[tuple[float, float, float]]:
    """(temperature, x, y) of the points that have both; the temperature is 1 where none is said."""
    found = []
    for point in points:
        x, y = (float(point.get(name, math.nan)) * (-1 if name in HIGHER_IS_BETTER else 1) for name in pair)
        if math.isfinite(x) and math.isfinite(y):
            found.append((float(point.get("temperature", 1.0)), x, y))
    return found


def draw_temperatures(
    axes: Axes, points: Points, pair: Pair, branch: str, label: str | None, *, named: bool
) -> None:
    """A generator at each temperature, the one it was trained at a square.

    Args:
        named: whether each temperature stands beside its point.
    """
    curve = places(points, pair)
    if not curve:
        return
    colour = COLOURS[branch]
    x, y = [row[1] for row in curve], [row[2] for row in curve]
    axes.plot(x, y, **style(branch), marker="d", markersize=4, linestyle=":" if not branch else "-",
              label=label, zorder=1)  # fmt: skip
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for temperature, x0, y0 in curve:
        if temperature == 1:
            axes.plot(x0, y0, "s", color=colour, markersize=7, zorder=3)
        elif named and left <= x0 <= right and low <= y0 <= high:
            axes.annotate(
                f"T={temperature:g}", (x0, y0), (-6, -4), textcoords="offset points", color=colour,
                fontsize=8, ha="right", va="top",
            )  # fmt: skip


def draw_real(axes: Axes, real: Mapping[str, Any], pair: Pair) -> None:
    """Real sequences in the place of samples."""
    for _, x, y in places([real], pair):
        axes.plot(x, y, "*", color="black", markersize=12, label="real sequences", zorder=4)


def _draw_stage(axes: Axes, run: RunHistory, pair: Pair, *, beside: bool) -> None:
    """The adversarial stage of the run and its controls, from the start on, and both temperature curves.

    Args:
        beside: whether there is room for the legend beside the picture.
    """
    own = run.own.series(*pair, stage="adversarial")
    start = run.own.series(*pair, until=own[0][0] - 1)[-1:]
    paths = {name: history.series(*pair) for name, history in run.controls.items()} | {"": own}
    for name, path in paths.items():
        x, y = ([row[i] for row in [*start, *path]] for i in (1, 2))
        axes.plot(x, y, "-", **style(name), label=run.label(name), zorder=2 if name else 3)
        axes.plot(x[1:], y[1:], ".", color=style(name)["color"], markersize=5 if name else 8)
        axes.plot(x[-1], y[-1], "o", color=style(name)["color"], markersize=7 if name else 10)
    for _, x0, y0 in start:
        axes.plot(x0, y0, "s", color="black", markersize=8, zorder=4, label="start: the pretrained generator")
    frame(axes, [row[1:] for path in (start, *paths.values()) for row in path])
    for branch, end in ((COLDER, False), ("", True)):
        label = run.label(branch) if branch else f"{run.label(branch)} sampled colder"
        draw_temperatures(axes, run.temperatures(end=end), pair, branch, label, named=not end)
    name_axes(axes, pair)
    where = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if beside else {"loc": "upper right"}
    axes.legend(frameon=False, fontsize=9 if beside else 8, **where)
