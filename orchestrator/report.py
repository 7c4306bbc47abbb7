"""What a run came to, for people: a table beside its start and its controls, and what that says, plainly.

Nothing here is kinder to the run than to a control: a tie, at the precision that is printed, is the
control's. Everything is read from ``summary.json``; the pictures are in ``orchestrator.pictures``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.margin import plane
from orchestrator.progress import duration

Metrics = Mapping[str, Any]

HEADINGS: Final = {
    "eval/nll_oracle": "NLL_oracle",
    "eval/nll_test": "NLL_test",
    "eval/nll_validation": "NLL_valid.",
    "eval/lm_score": "LM score",
    "eval/js_4": "JS-4",
    "eval/known_words": "known words",
    "eval/unique_rate": "unique",
    "eval/self_bleu_2": "self-BLEU-2",
    "eval/self_bleu_4": "self-BLEU-4",
    "eval/entropy": "entropy",
}
"""Metrics of the table, in the order of its columns. All likelihoods are nats per token."""


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The run beside its start and its controls. What the data does not define has no column.

    A control with a star did as well as the run: it ended as low, or was as low at a breadth as good.
    """
    rows = list(_rows(summary))
    text = "eval/nll_oracle" in summary.get("undefined", ())
    skipped = {"eval/self_bleu_2"} if text else {"eval/self_bleu_4", "eval/nll_validation", "eval/lm_score"}
    if "eval/js_4_unigram" not in _final(summary):  # of words, divergences say little
        skipped |= {"eval/js_4"}
    undefined = set(summary.get("undefined", ())) | skipped
    columns = [
        name
        for name in HEADINGS
        if name not in undefined and any(finite(metrics, name) is not None for _, metrics, _ in rows)
    ]
    title = f"{summary.get('recipe', 'run')}, seed {summary.get('seed', '?')}"
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.title_justify = table.caption_justify = "left"
    table.add_column("")
    for name in columns:
        table.add_column(HEADINGS[name], justify="right", no_wrap=True, min_width=len(HEADINGS[name]))
    for label, metrics, own in rows:
        values = (finite(metrics, name) for name in columns)
        cells = ["-" if value is None else f"{value:.3f}" for value in values]
        table.add_row(label, *cells, style="bold" if own else "")
    floor = finite(_final(summary), "eval/nll_oracle_floor")
    notes = [] if floor is None else [f"Floor: the oracle's own NLL_oracle is {floor:.3f}."]
    notes.append("NLL and entropy in nats per token.")
    if (chance := finite(_final(summary), "eval/js_4_unigram")) is not None:
        notes.append(f"JS in bits; characters drawn one by one have a JS-4 of {chance:.3f}.")
    if any(label.startswith("* ") for label, _, _ in rows):
        notes.append(f"* a control that did as well as {_name(summary)}, or better.")
    table.caption = " ".join(notes)
    return table


def verdict(summary: Mapping[str, Any]) -> list[str]:
    """Sentences: what the adversarial stage changed, and whether any control did as well."""
    final, pair = _final(summary), plane(_final(summary))
    if pair is None or not _adversarial(summary):
        return []
    lines = [_change(summary, *pair)]
    if not summary.get("controls") and not _pretrained(summary):
        return [*lines, _WITHOUT_LIKELIHOOD]
    if not summary.get("controls"):
        return [*lines, "No controls were run: nothing here shows that it was the discriminator that helped."]
    lines += [*_compare_ends(summary, pair[1]), _compare_curves(summary, *pair)]
    margin, breadth = finite(final, "eval/control_margin"), HEADINGS[pair[0]]
    if margin is not None:
        below = (
            f"{_name(summary)} lies below every control"
            if margin > 0
            else "the best control lies as low or lower"
        )
        lines.append(f"Control margin: {margin:+.3f} nats per token at equal {breadth}; {below}.")
    elif "eval/control_margin" in summary.get("undefined", ()):
        lines.append(f"Control margin: not defined, no control reaches the {breadth} of {_name(summary)}.")
    return lines


def closing(summary: Mapping[str, Any], directory: Path, links: Mapping[str, str]) -> list[RenderableType]:
    """What is shown when a run has ended: table, verdict, and where to go from here.

    Args:
        links: ``command`` opens the comparison, ``page`` is its address, ``model`` the logged model; each
            may be absent.
    """
    parts: list[RenderableType] = []
    status = str(summary.get("status", ""))
    if summary.get("metrics"):
        parts += [summary_table(summary), Text(""), *(Text(line) for line in verdict(summary)), Text("")]
    took = f" after {duration(summary['wall_s'])}" if "wall_s" in summary else ""
    if status == "finished":
        pointers = [("finished" + took, str(directory))]
    else:
        reason = f" ({summary['reason']})" if summary.get("reason") else ""
        pointers = [(status + took + reason, str(directory)), ("continue", f"advseq resume {directory}")]
    pointers += [(path.stem.replace("_", " "), str(path)) for path in sorted(directory.glob("*.png"))]
    if status == "finished":
        pointers.append(("sample", f"advseq sample {directory}"))
    pointers += [(label, links[key]) for key, label in _LINKS.items() if links.get(key)]
    width = max(len(label) for label, _ in pointers)
    for label, target in pointers:  # whole on one line, so that it can be copied
        parts.append(Text(f"{label:<{width}}  {target}", no_wrap=True, overflow="ignore"))
    return parts


_WITHOUT_LIKELIHOOD: Final = (
    "This run had no likelihood training: all that it learned came by way of the discriminator."
)
_LINKS: Final = {"command": "compare runs", "page": "in MLflow", "model": "model"}


def _rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, Metrics, bool]]:
    """Label, metrics, and whether the row is the run's own end."""
    name, start, lowest = _name(summary), summary.get("baseline"), summary.get("pretraining_lowest") or {}
    if _adversarial(summary):
        yield "MLE (start)" if _pretrained(summary) else "start", start or {}, False
        if lowest and _pretrained(summary):
            yield f"MLE (lowest, step {lowest.get('step', '?')})", lowest, False
    yield (
        name + (" (end)" if summary.get("status", "finished") == "finished" else " (so far)"),
        _final(summary),
        True,
    )
    best = summary.get("best") or {}
    if best and best.get("step") != summary.get("steps"):
        yield f"{name} (best, step {best['step']})", {best["metric"]: best["value"]}, False
    winners = set()
    if pair := plane(_final(summary)):
        found = [*_ends(summary, pair[1]), *_within(summary, *pair)]
        winners = {control for _, control in _as_low(summary, pair[1], found)}
    for control, metrics in (summary.get("controls") or {}).items():
        temperature = finite(metrics, "temperature")
        at = "" if temperature is None else f", T={temperature:.2f}"
        yield ("* " if control in winners else "") + _label(control) + at, metrics, False
    if summary.get("real"):
        yield "real sequences", summary["real"], False


def _change(summary: Mapping[str, Any], across: str, down: str) -> str:
    start, final = summary.get("baseline") or {}, _final(summary)
    parts = []
    for metric in (down, across):
        before, after = finite(start, metric), finite(final, metric)
        if before is not None and after is not None:
            parts.append(f"{HEADINGS[metric]} {before:.3f} -> {after:.3f} ({after - before:+.3f})")
    sentence = f"In the adversarial stage: {', '.join(parts)}"
    lowest = finite(summary.get("pretraining_lowest") or {}, down)
    if lowest is None or not _pretrained(summary):
        return sentence + "."
    gap = round(final[down] - lowest, 3)
    where = f"{abs(gap):.3f} {'below' if gap < 0 else 'above'}" if gap else "at"
    return f"{sentence}; the end is {where} the lowest {HEADINGS[down]} of pretraining."


def _compare_ends(summary: Mapping[str, Any], down: str) -> list[str]:
    name, own, heading, ends = (
        _name(summary),
        float(_final(summary)[down]),
        HEADINGS[down],
        _ends(summary, down),
    )
    if not ends:
        return []
    best, control = ends[0]
    gap = round(best, 3) - round(own, 3)
    if gap > 0:
        return [f"Lowest {heading} at the end: {name}, {own:.3f}; {_label(control)} is {gap:.3f} above it."]
    if gap == 0:
        return [
            f"Lowest {heading} at the end: {own:.3f}, by {name} and {_label(control)}: a control did as well."
        ]
    lead = f"{_label(control)}, {best:.3f}; {name} is {-gap:.3f} above it"
    return [f"Lowest {heading} at the end: {lead}: a control did better."]


def _compare_curves(summary: Mapping[str, Any], across: str, down: str) -> str:
    name, final, levels = _name(summary), _final(summary), _within(summary, across, down)
    at = f"At {name}'s {HEADINGS[across]} ({final[across]:.3f}) or lower"
    own = f"its {HEADINGS[down]} ({final[down]:.3f})"
    if winners := _as_low(summary, down, levels):
        who = ", ".join(f"{_label(control)} ({level:.3f})" for level, control in winners)
        return (
            f"{at} these reach {own} or less: {who}. "
            "A control did as well, so this run does not show that its discriminator helped."
        )
    nearest = f"; the nearest is {_label(levels[0][1])} ({levels[0][0]:.3f})" if levels else ""
    return f"{at} no control reaches {own}{nearest}."


def _ends(summary: Mapping[str, Any], down: str) -> list[tuple[float, str]]:
    """(ordinate at the end, control), lowest first. The colder start is chosen to end level with the run."""
    controls = (
        (name, end) for name, end in (summary.get("controls") or {}).items() if name != "colder_start"
    )
    return sorted((level, name) for name, end in controls if (level := finite(end, down)) is not None)


def _within(summary: Mapping[str, Any], across: str, down: str) -> list[tuple[float, str]]:
    """(lowest ordinate where the abscissa is no higher than the run's, control), lowest first."""
    limit, curves = float(_final(summary)[across]), summary.get("curves") or {}
    found = []
    for name, end in (summary.get("controls") or {}).items():
        levels = [*_levels(curves.get(name) or (), across, down, limit), *_levels([end], across, down, limit)]
        if levels:
            found.append((min(levels), name))
    return sorted(found)


def _as_low(summary: Mapping[str, Any], down: str, found: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those that are as low as the run's end, to the three decimals that are printed."""
    own = round(float(_final(summary)[down]), 3)
    return [(level, name) for level, name in found if round(level, 3) <= own]


def _levels(curve: Sequence[Metrics], across: str, down: str, limit: float) -> Iterator[float]:
    """Ordinates of a curve where its abscissa is at most the limit, linear between evaluations."""
    pairs = ((finite(point, across), finite(point, down)) for point in curve)
    points = [(x, y) for x, y in pairs if x is not None and y is not None]
    yield from (y for x, y in points if x <= limit)
    for (x0, y0), (x1, y1) in pairwise(points):
        if min(x0, x1) < limit < max(x0, x1):
            yield y0 + (y1 - y0) * (limit - x0) / (x1 - x0)


def _pretrained(summary: Mapping[str, Any]) -> bool:
    """Whether there was likelihood training: its evaluations are of later steps than the very first."""
    lowest = summary.get("pretraining_lowest") or {}
    return not lowest or lowest.get("step") != 0


def _adversarial(summary: Mapping[str, Any]) -> bool:
    """Whether the run has gone beyond its start."""
    start, final = summary.get("baseline") or {}, _final(summary)
    moved = any(final.get(name) != value for name, value in start.items() if name.startswith("eval/"))
    return bool(start) and (moved or bool(summary.get("controls")))


def _final(summary: Mapping[str, Any]) -> Metrics:
    metrics: Metrics = summary.get("metrics") or {}
    return metrics


def finite(metrics: Metrics, name: str) -> float | None:
    """A metric as a finite number, or None."""
    value = metrics.get(name)
    return None if value is None or not math.isfinite(float(value)) else float(value)


def _name(summary: Mapping[str, Any]) -> str:
    return str(summary.get("algorithm") or summary.get("recipe") or "run")


def _label(control: str) -> str:
    return control.replace("_", " ")
