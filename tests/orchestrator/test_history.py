"""What a run directory says of the past."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.history import History, RunHistory
from toys.written_run import CONTROLS, write_run


def test_of_a_step_written_twice_the_later_counts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        json.dumps({"time": 0, "step": 5, "stage": "adversarial", "metrics": {"a": a}}) for a in (1.0, 2.0)
    ]
    path.write_text("\n".join([*lines, "[]"]))
    assert History.read(path).series("a") == [(5.0, 2.0)]
    assert History.read(tmp_path / "none").series("a") == []


def test_a_run_and_its_controls_in_their_order(tmp_path: Path) -> None:
    run = RunHistory(write_run(tmp_path))
    assert list(run.controls) == list(CONTROLS)
    assert [(name, first, last) for name, first, last in run.own.stages()] == [
        ("pretrain_generator", 0, 12),
        ("pretrain_discriminator", 12, 16),
        ("adversarial", 16, 26),
    ]
    assert run.own.last("adversarial")["eval/nll_oracle"] == 9.0 - 0.04 * 10
    assert run.own.last("elsewhere") is None
    assert [point["temperature"] for point in run.temperatures(end=False)] == [1.0, 0.9, 0.8, 0.5]
    assert list(run.temperatures(end=True)) == []


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    run = RunHistory(tmp_path / "none")
    assert run.controls == {}
    assert run.label("") == "run"
    assert list(run.temperatures(end=False)) == []
