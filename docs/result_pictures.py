"""What is drawn of a group of runs."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from orchestrator.figures import COLOURS, new_figure
from orchestrator.quality_diversity import TEXT_PAIRS, draw_real, draw_temperatures, name_axes, places
from result_groups import Group


def pictures(group: Group) -> dict[str, tuple[str, Callable[[], Figure]]]:
    """What there is to draw: file name -> what it shows, and how it is drawn."""
    found: dict[str, tuple[str, Callable[[], Figure]]] = {}
    if any(run["curves"] for run in group.runs):
        words = "Quality against breadth, a line a seed; lower left is better"
        found["curves.png"] = (words, lambda: _curves(group))
    if any(run.get("temperatures") for run in group.runs):
        words = "Quality against diversity at every temperature, a line a seed; squares: temperature 1"
        found["temperatures.png"] = (words, lambda: _temperatures(group))
    if group.runs and "eval/js_4_unigram" in group.runs[0]["metrics"]:
        words = "Divergence of n-grams (dashed: the floor) and the critic's gradient, a line a seed"
        found["characters.png"] = (words, lambda: _characters(group))
    return found


def _characters(group: Group) -> Figure:
    """JS_1 .. JS_4 of every evaluation, and beside it the norm of the critic's gradient at interpolates."""
    figure = new_figure(12.0, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for n, colour in zip((1, 2, 3, 4), ("#0072b2", "#009e73", "#d55e00", "#000000"), strict=True):
        name = f"eval/js_{n}"
        for run in group.runs:
            points = [(p["step"], p[name]) for p in group.file(run, "curve") if name in p]
            label = f"JS-{n}" if run is group.runs[0] else None
            left.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, label=label)
        left.axhline(group.runs[0]["metrics"][f"{name}_floor"], color=colour, linestyle="--", linewidth=0.8)
    left.set(xlabel="step", ylabel="bits", ylim=(0, 1.02))
    left.legend(frameon=False, loc="lower left", ncols=4)
    for run in group.runs:
        name = "d/interpolate_grad_norm"
        points = [(p["step"], p[name]) for p in group.file(run, "curve") if name in p]
        right.plot(*zip(*points, strict=True), color="#0072b2", linewidth=1.2)
    right.set(xlabel="step", ylabel="norm of the critic's gradient", yscale="log")
    return figure


def _curves(group: Group) -> Figure:
    """Quality against breadth in the adversarial stage: a line a seed, of the run and of its controls."""
    runs = group.runs
    text = "eval/nll_oracle" not in runs[0]["metrics"]
    pair = ("eval/nll_test", "eval/lm_score" if text else "eval/nll_oracle")
    paths: dict[str, list[list[dict[str, float]]]] = {"": []}
    for run in runs:
        own = [point for point in group.file(run, "curve") if point["stage"] == "adversarial"]
        paths[""].append([run["baseline"], *own])
        for name, points in run["curves"].items():
            paths.setdefault(name, []).append(points)
    figure = new_figure(8.0, 5.2)
    axes, trained = figure.subplots(), list[tuple[float, float]]()
    for name, lines in paths.items():
        for i, line in enumerate(lines):
            points = [(x, y) for _, x, y in places(line, pair)]
            label = (name.replace("_", " ") or runs[0]["algorithm"]) if i == 0 else None
            style = {"color": COLOURS[name], "linewidth": 1.0 if name else 1.8}
            axes.plot(*zip(*points, strict=True), **style, label=label)
            axes.plot(*points[-1], "o", color=COLOURS[name], markersize=4 if name else 7)
            trained += [] if name == "colder_start" else points
    for limit, values in zip((axes.set_xlim, axes.set_ylim), zip(*trained, strict=True), strict=True):
        room = 0.1 * (max(values) - min(values))  # the coldest temperatures lie far outside
        limit(min(values) - room, max(values) + room)
    name_axes(axes, pair)
    axes.legend(frameon=False)
    return figure


def _temperatures(group: Group) -> Figure:
    """Every temperature of the end and of the start, a line a seed."""
    runs = [run for run in group.runs if run.get("temperatures")]
    text = "eval/nll_oracle" not in runs[0]["metrics"]
    pairs = TEXT_PAIRS if text else (("eval/nll_test", "eval/nll_oracle"),)
    figure = new_figure(7.0 * len(pairs), 5.2)
    for axes, pair in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        for i, run in enumerate(runs):
            for branch, points in (
                ("colder_start", run["curves"]["colder_start"]),
                ("", run["temperatures"]),
            ):
                label = (run["algorithm"] if not branch else "its MLE start") if i == 0 else None
                draw_temperatures(axes, points, pair, branch, label, named=i == 0)
        draw_real(axes, runs[0].get("real") or {}, pair)
        name_axes(axes, pair)
        axes.legend(frameon=False)
    return figure
