"""Finished runs that are kept under docs/results/, grouped by setting, and statistics over their seeds."""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import t as student

RESULTS = Path(__file__).parent / "results"
Json = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """The runs of one setting, by seed, and what is written about them."""

    path: Path
    runs: Sequence[Json]

    @classmethod
    def read(cls, name: str) -> Group:
        path = RESULTS / name
        runs = [json.loads(file.read_text()) for file in path.glob("*/summary.json")]
        if not path.is_dir():
            sys.exit(f"there is no group {name} under {RESULTS}")
        return cls(path, sorted(runs, key=lambda run: run["seed"]))

    @property
    def name(self) -> str:
        return self.path.name

    def file(self, run: Json, name: str) -> Any:
        return json.loads((self.path / f"seed{run['seed']}" / f"{name}.json").read_text())

    def values(self, at: str) -> list[float]:
        """A place in the summary, or ``lowest NAME``, of every run that has it."""
        if at.startswith("lowest "):
            name = at.removeprefix("lowest ")
            curves = (
                [p for p in self.file(run, "curve") if p["stage"] == "adversarial"] for run in self.runs
            )
            return [min(point[name] for point in curve) for curve in curves]
        found = (place(run, at) for run in self.runs)
        return [value for value in found if value is not None]


def place(run: Json, at: str) -> float | None:
    """The number at a place, its keys parted by dots; None where there is none."""
    value: Any = run
    for key in at.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else float(value)


ASKED = re.compile(r"\{\{\s*([\w./-]+):\s*(\w+)\s+([^}]*?)\s*\}\}")


def filled(text: str) -> str:
    """Words with the numbers that they ask for."""

    def answer(asked: re.Match[str]) -> str:
        name, statistic, where = asked.groups()
        if name.endswith(".json"):
            return written(numbers(json.loads((RESULTS / name).read_text()), where), statistic, name)
        return told(Group.read(name), statistic, where)

    return ASKED.sub(answer, text)


def numbers(content: Json, where: str) -> list[float]:
    """The list of a name, or the one number at a place."""
    if isinstance(content.get(where), list):
        return list(content[where])
    value = place(content, where)
    return [] if value is None else [value]


def told(group: Group, statistic: str, where: str) -> str:
    """One statistic over the seeds of a group."""
    first, _, less = where.partition(" - ")
    values = group.values(first)
    if less:
        other = Group.read(less).values(first) if (RESULTS / less).is_dir() else group.values(less)
        values = [a - b for a, b in zip(values, other, strict=True)]
    return written(values, statistic, f"{group.name}: {where}", signed=bool(less))


def written(values: Sequence[float], statistic: str, of: str, *, signed: bool = False) -> str:
    """One statistic of some values, as text."""
    if not values:
        sys.exit(f"{of} has no value")
    write: Callable[[float], str] = (lambda v: f"{v:+.3f}") if signed else (lambda v: f"{v:.3f}")
    statistics_of: dict[str, Callable[[], str]] = {
        "each": lambda: ", ".join(map(write, values)),
        "mean": lambda: write(statistics.mean(values)),
        "least": lambda: write(min(values)),
        "most": lambda: write(max(values)),
        "between": lambda: mean_between(values),
        "error": lambda: f"{statistics.stdev(values) / len(values) ** 0.5:.3f}",
        "minutes": lambda: f"{statistics.mean(values) / 60:.0f}",
    }
    if statistic not in statistics_of:
        sys.exit(f"{statistic}: one of {', '.join(statistics_of)} is wanted")
    return statistics_of[statistic]()


def spread(values: Sequence[float]) -> str:
    """The mean, and in brackets the least and the greatest."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ({min(values):.3f}, {max(values):.3f})"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % of Student's t around the mean."""
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.mean(values)
    return float(mean - half), float(mean + half)


def mean_between(values: Sequence[float]) -> str:
    """The mean, and for three values or more its interval."""
    if len(values) < 3:
        return f"{statistics.mean(values):+.3f}"
    low, high = interval(values)
    return f"{statistics.mean(values):+.3f} ({low:+.3f} to {high:+.3f})"
