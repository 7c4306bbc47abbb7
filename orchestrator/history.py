"""What a run directory says of the past: the measurements of the run and of its controls, as series."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator.config import CONTROLS

COLDER: Final = "colder_start"
"""The control that is the start at lower temperatures."""


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

    def last(self, stage: str) -> Mapping[str, Any] | None:
        """The metrics of a stage's last evaluation; None where it has none."""
        return next(
            (
                metrics
                for _, at, metrics in reversed(self.records)
                if at == stage and "eval/unique_rate" in metrics
            ),
            None,
        )

    def stages(self) -> Iterator[tuple[str, int, int]]:
        """(stage, step before its first, its last step), in order."""
        for name in dict.fromkeys(stage for _, stage, _ in self.records):
            steps = [step for step, stage, _ in self.records if stage == name]
            yield name, steps[0] - 1, steps[-1]


class RunHistory:
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
            *(name for name in CONTROLS if name in files),
            *(name for name in files if name not in CONTROLS),
        ]
        self.controls = {name: History.read(files[name]) for name in order}

    def label(self, branch: str) -> str:
        """The name of a line."""
        return branch.replace("_", " ") or str(
            self.summary.get("algorithm") or self.summary.get("recipe") or "run"
        )

    def temperatures(self, *, end: bool) -> Sequence[Mapping[str, float]]:
        """The metrics at each temperature of the run's end, or of where its adversarial stage began."""
        found = self.summary.get("temperatures") if end else (self.summary.get("curves") or {}).get(COLDER)
        return found or ()
