"""In what scores are computed and D learns: asked for, chosen before the first step, kept, and watched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.learner import MOST_DEVIATION, Learner
from orchestrator.recipe import load
from orchestrator.run import Run
from toys.small_runs import UNITS, finish
from workers.messages import DeviceClass
from workers.pool import InProcessPool


def run(root: Path, *more: str) -> tuple[Run, list[str]]:
    warned: list[str] = []
    started = Run.create(load("seqgan", [*UNITS, f"run.directory={root}", *more]), warn=warned.append)
    return started, warned


def metrics(run: Run) -> list[dict[str, Any]]:
    lines = (run.directory.path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["metrics"] for line in lines]


def can(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(InProcessPool, "fast_bf16", property(lambda _: fast))


def test_hardware_that_multiplies_bfloat16() -> None:
    def of(device: str, capability: str) -> bool:
        return DeviceClass(device, capability, "2.13", "float32", 1).fast_bf16

    assert of("cpu Xeon", "AVX512 amx_bf16 amx_tile avx512_f")
    assert of("cpu EPYC", "AVX512 avx512_bf16 avx512_f")
    assert not of("cpu EPYC", "AVX2 avx avx2 fma3")
    assert of("NVIDIA H100", "sm_90 AVX2 avx2")
    assert not of("Tesla V100", "sm_70 AVX512 amx_bf16")


@pytest.mark.parametrize("fast", [False, True])
def test_auto_asks_the_hardware_and_keeps_its_choice(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    can(monkeypatch, fast)
    started, warned = run(runs_root, "scoring.precision=auto", "steps=3")
    for progress in started:
        if progress.stage == "adversarial" and progress.done == 2:
            break
    chosen = json.loads((started.directory.path / "placement.json").read_text())
    assert chosen["precision"] == ("bf16" if fast else "fp32")
    if fast:
        assert 0 < chosen["precision_deviation"] <= MOST_DEVIATION
    watched = [
        m["rollout/precision_deviation"] for m in metrics(started) if "rollout/precision_deviation" in m
    ]
    assert len(watched) == (2 if fast else 0)
    assert warned == []
    can(monkeypatch, not fast)  # another machine: what was chosen stays
    monkeypatch.setattr(Learner, "precision_deviation", lambda _: 0.0)
    resumed = Run.resume(started.directory.path, warn=warned.append)
    finish(resumed)
    assert sum("rollout/precision_deviation" in record for record in metrics(started)) == (3 if fast else 0)
    assert json.loads((started.directory.path / "placement.json").read_text()) == chosen


def test_auto_leaves_it_where_credits_move_too_far(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    can(monkeypatch, True)
    monkeypatch.setattr(Learner, "precision_deviation", lambda _: 0.02)
    started, _ = run(runs_root, "scoring.precision=auto", "steps=1")
    finish(started)
    chosen = json.loads((started.directory.path / "placement.json").read_text())
    assert chosen == {"precision": "fp32", "precision_deviation": 0.02}


def test_bfloat16_changes_what_is_learned_and_not_what_float32_would_be(runs_root: Path) -> None:
    hashes = {}
    for name, precision in (("a", "fp32"), ("b", "bf16"), ("c", "auto")):
        started, warned = run(runs_root, f"scoring.precision={precision}", f"run.name={name}", "steps=2")
        hashes[name] = finish(started)["parameters_sha256"]
        slow = any("no instructions for it" in line for line in warned)
        fast = started.directory.read_json("placement.json") == {"precision": "bf16"}
        assert slow == (precision == "bf16" and not fast and not _fast_here())
    assert hashes["a"] != hashes["b"]
    if not _fast_here():
        assert hashes["a"] == hashes["c"]


def test_credits_that_move_too_far_are_told(runs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "precision_deviation", lambda _: 0.05)
    started, warned = run(runs_root, "scoring.precision=bf16", "steps=2")
    finish(started)
    told = [line for line in warned if "move a credit by 0.050" in line]
    assert len(told) == 2
    assert all("scoring.precision=fp32" in line for line in told)


@pytest.mark.parametrize("fast", [False, True])
def test_learning_asks_the_hardware_and_keeps_its_choice(
    runs_root: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    hashes = {}
    for name in ("fp32", "bf16", "auto"):
        monkeypatch.setattr(Learner, "learns_fast_in_bf16", lambda _: fast)
        started, warned = run(runs_root, f"learner.precision={name}", f"run.name={name}", "steps=2")
        for progress in started:
            if progress.stage == "adversarial":
                break
        monkeypatch.setattr(Learner, "learns_fast_in_bf16", lambda _: not fast)  # another machine
        hashes[name] = finish(Run.resume(started.directory.path))["parameters_sha256"]
        assert any("learner.precision=bf16, but" in line for line in warned) == (name == "bf16" and not fast)
        kept = started.directory.read_json("placement.json")
        assert kept == ({"learning": "bf16" if fast else "fp32"} if name == "auto" else None)
    assert hashes["bf16"] != hashes["fp32"]
    assert hashes["auto"] == hashes["bf16" if fast else "fp32"]


def _fast_here() -> bool:
    import torch

    from workers.messages import device_class

    return device_class(torch.device("cpu"), torch.float32, 1).fast_bf16
