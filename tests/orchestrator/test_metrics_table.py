"""One evaluation as a table."""

from __future__ import annotations

import io

from rich.console import Console

from orchestrator.metrics_table import metrics_table


def test_metrics_of_one_evaluation() -> None:
    result = {
        "checkpoint": 40,
        "temperature": 0.8,
        "metrics": {"eval/nll_test": 4.25},
        "undefined": ["eval/nll_oracle"],
    }
    told = io.StringIO()
    Console(file=told, width=80).print(metrics_table(result))
    text = told.getvalue()
    assert "checkpoint 40, temperature 0.8" in text
    assert "4.250" in text
    assert "not defined" in text
