"""Runs that no longer mean anything: told of, or ended with what was good kept."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from algorithms.types import Loss
from orchestrator import checkpoints
from orchestrator.errors import GuardError
from orchestrator.guards import GuardConfig, Guards
from orchestrator.measure import Measure
from orchestrator.recipe import load
from orchestrator.run import Run
from orchestrator.trainer import Trainer
from toys.small_runs import UNITS, finish


def guards(stops: bool = True, **settings) -> tuple[Guards, list[str]]:
    warned: list[str] = []
    return Guards(GuardConfig(**settings), "the run", warned.append, stops=stops), warned


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"g/grad_norm": 11.0}, "gradients explode (guards.grad_norm = 10)"),
        ({"d/grad_norm": 1e9}, "gradients explode"),
        ({"eval/unique_rate": 0.01}, "repeats itself"),
        ({"eval/entropy": 0.001}, "hardly a choice"),
        ({"adv/effective_sample_size": 1.02}, "takes all the weight"),
    ],
)
def test_beyond_a_limit(metrics: dict[str, float], told: str):
    for policy, stops in (("stop", True), ("warn", False)):
        watched, warned = guards(policy=policy, grad_norm=10.0)
        if stops:
            with pytest.raises(GuardError, match="at step 3 of the run") as error:
                watched.check(3, metrics)
            assert told in str(error.value)
        else:
            watched.check(3, metrics)
            watched.check(4, metrics)
            (line,) = warned
            assert told in line
    watched, warned = guards(policy="off", grad_norm=10.0)
    watched.check(3, metrics)
    control, alarmed = guards(stops=False, policy="stop", grad_norm=10.0)
    control.check(3, metrics)
    assert (len(warned), len(alarmed)) == (0, 1)


def test_within_the_limits():
    watched, warned = guards(policy="stop")
    watched.check(
        1, {"g/grad_norm": 1e6, "eval/unique_rate": 0.02, "eval/entropy": 0.02, "loss/generator": -1e9}
    )
    assert warned == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_always_ends_it(value: float):
    watched, _ = guards(policy="off")
    with pytest.raises(GuardError, match=r"loss/generator is .* at step 7 of the run"):
        watched.check(7, {"loss/generator": value})


@pytest.mark.parametrize("policy", ["stop", "warn"])
def test_a_collapse_is_not_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str):
    measure = Measure.__call__

    def collapsed(self, *args, **options):
        found = measure(self, *args, **options)
        if len(seen) == 3:
            found.metrics["eval/unique_rate"] = 0.001
        seen.append(found)
        return found

    seen: list[object] = []
    monkeypatch.setattr(Measure, "__call__", collapsed)
    warned: list[str] = []
    settings = [*UNITS, f"run.directory={tmp_path}", f"guards.policy={policy}", "checkpoint.every_seconds=0"]
    run = Run.create(load("seqgan", settings), warn=warned.append)
    if policy == "warn":
        assert finish(run)["status"] == "finished"
        assert sum("eval/unique_rate = 0.001" in line for line in warned) == 1
        return
    reached = []
    with pytest.raises(GuardError, match=r"eval/unique_rate = 0.001 .* \(init.run\)"):
        reached.extend(progress.step for progress in run)
    summary = json.loads((run.directory.path / "summary.json").read_text())
    assert summary["status"] == "diverged"
    assert "eval/unique_rate = 0.001" in summary["reason"]
    assert checkpoints.steps(run.directory.checkpoints)[-1] == reached[-1]  # the step before
    monkeypatch.undo()
    resumed = Run.resume(run.directory.path, overrides=["guards.policy=warn"])
    assert finish(resumed)["status"] == "finished"


def test_a_control_that_diverges_does_not_take_the_run_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    descend = Trainer.descend

    def poisoned(self: Trainer, name: str, loss: Loss, metrics: object) -> None:
        factor = math.nan if self.branch == "constant_reward" and self.state.done == 2 else 1.0
        descend(self, name, Loss(loss.value * factor), metrics)

    monkeypatch.setattr(Trainer, "descend", poisoned)
    settings = [*UNITS, f"run.directory={tmp_path}", 'controls=["constant_reward"]']
    warned: list[str] = []
    summary = finish(Run.create(load("seqgan", settings), warn=warned.append))
    assert summary["status"] == "finished"
    assert any("diverged" in line and "The control constant_reward ends here" in line for line in warned)
    # the start and two of three steps
    assert len(summary["curves"]["constant_reward"]) == 3
    assert summary["controls"]["constant_reward"] == summary["curves"]["constant_reward"][-1]
