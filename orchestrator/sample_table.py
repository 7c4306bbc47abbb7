"""The samples of all evaluations as one table, in the form in which MLflow shows tables."""

from __future__ import annotations

import json
import re
from pathlib import Path

NAME = "samples.json"
TAG = {"mlflow.loggedArtifacts": json.dumps([{"path": NAME, "type": "table"}])}
"""What tells MLflow that the artifact is one."""

_STEP = re.compile(r"step_(\d+)\.txt")


def write_sample_table(directory: Path) -> Path | None:
    """Writes ``samples.json`` beside a run's ``samples/``, a row for each sample of each step; None if none.

    Args:
        directory: of the run.
    """
    steps = {
        int(match[1]): file
        for file in (directory / "samples").glob("step_*.txt")
        if (match := _STEP.fullmatch(file.name))
    }
    rows = [
        [step, number, line]
        for step, file in sorted(steps.items())
        for number, line in enumerate(_text(file).split("\n")[:-1], 1)
    ]
    if not rows:
        return None
    path = directory / NAME
    table = {"columns": ["step", "number", "sample"], "data": rows}
    path.write_text(json.dumps(table, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _text(file: Path) -> str:
    """Samples are for people: bytes that are no UTF-8 (a damaged file) do not keep a run from ending."""
    return file.read_bytes().decode("utf-8", errors="replace")
