"""All that one evaluation measured, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from orchestrator.progress import number
from orchestrator.report import finite


def metrics_table(result: Mapping[str, Any]) -> Table:
    """All metrics of one evaluation, beside the start's and those of real sequences where they are known.

    Keys: ``metrics``, ``undefined``, ``signatures``, and ``start``, ``real``; ``checkpoint`` and
    ``temperature`` or ``beam`` of a run, or ``file``.
    """
    if "file" in result:
        title = f"{result['samples']:,} samples of {result['file']}"
    else:
        beam, temperature = result.get("beam"), result.get("temperature", 1.0)
        how = f"beam of {beam}" if beam else f"temperature {temperature:g}"
        title = f"checkpoint {result.get('checkpoint', '?')}, {how}"
    beside = {label: result[key] for key, label in _BESIDE.items() if result.get(key)}
    table = Table(title=title, box=None, title_justify="left", pad_edge=False, show_header=bool(beside))
    table.min_width = len(title)
    table.add_column(no_wrap=True)
    for label in ("samples", *beside):
        table.add_column(label, justify="right", no_wrap=True)
    for name, value in result["metrics"].items():
        others = (finite(metrics, name) for metrics in beside.values())
        cells = ("" if other is None else number(other) for other in others)
        table.add_row(name, number(float(value)), *cells)
    for name in result.get("undefined", ()):
        table.add_row(name, Text("not defined", "dim"))
    return table


_BESIDE: Final = {"start": "MLE start", "real": "real"}
