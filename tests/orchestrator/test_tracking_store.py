"""What is known about a store without asking it."""

from __future__ import annotations

import doctest
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator import tracking_store
from orchestrator.config import TrackingConfig
from orchestrator.tracking import compare_url, run_url, store_uri
from orchestrator.tracking_store import flatten, within

ROOT = Path(__file__).parents[2]


def test_importing_it_costs_nothing() -> None:
    program = "import sys, orchestrator.tracking; print({'mlflow', 'torch', 'pandas'} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "set()\n"


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_uri(TrackingConfig(), tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert store_uri(TrackingConfig(), tmp_path) == "http://tracking:5000"
    assert store_uri(TrackingConfig(uri="postgresql://db"), tmp_path) == "postgresql://db"


def test_params_are_plain() -> None:
    tree = {
        "a": {"b": {"c": 1e-5}},
        "big": 2**40,
        "mixed": (0.1 + 0.2, "x", True),
        "none": None,
        "p": Path("x/y"),
    }
    assert flatten(tree) == {"a.b.c": "1e-05", "big": "1099511627776", "mixed": "0.3,x,true", "p": "x/y"}
    assert doctest.testmod(tracking_store).failed == 0


def test_links_ask_for_the_view_of_training_runs() -> None:
    end = "workflowType=machine_learning"
    assert run_url("http://h:5/", "3", "ab") == f"http://h:5/#/experiments/3/runs/ab/model-metrics?{end}"
    compare = "#/compare-runs?runs=%5B%22ab%22%2C%22cd%22%5D&experiments=%5B%223%22%5D&"
    assert compare_url("http://h:5", "3", ["ab", "cd"]) == f"http://h:5/{compare}{end}"


def test_a_call_without_a_limit_gets_one() -> None:
    assert within(5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer"):
        within(0.1, lambda: time.sleep(1))
    assert time.monotonic() - start < 0.9
