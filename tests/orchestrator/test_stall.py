"""A run that stands still ends: with an exception where Python runs, else with its process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.recipe import load
from orchestrator.run import Run
from orchestrator.stall import StallError, StallWatch
from orchestrator.trainer import Trainer
from toys.small_runs import UNITS, finish


def stand_still(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


def test_a_loop_that_does_not_end_is_interrupted(tmp_path: Path):
    watch = StallWatch(0.1, tmp_path / "stacks")
    watch.progressed()
    with pytest.raises(StallError, match="stalled"):
        stand_still(20)
    watch.close()
    (file,) = (tmp_path / "stacks").iterdir()
    assert "in stand_still" in file.read_text()


def test_progress_and_pauses_are_no_stall(tmp_path: Path):
    watch = StallWatch(0.5, tmp_path / "stacks")
    for _ in range(8):
        watch.progressed()
        time.sleep(0.1)
    watch.pause()
    time.sleep(0.7)
    watch.close()
    assert not (tmp_path / "stacks").exists()


def test_a_run_that_stalls_fails_resumably_and_goes_on_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = [*UNITS, f"run.directory={tmp_path}"]
    calm = finish(Run.create(load("seqgan", [*settings, "run.name=calm"])))
    descend, stalled = Trainer.descend, []

    def standing_still(self: Trainer, name: str, *more: object) -> None:
        while self.state.step == 4 and not stalled:
            time.sleep(0.01)
        descend(self, name, *more)

    monkeypatch.setattr(Trainer, "descend", standing_still)
    run = Run.create(load("seqgan", [*settings, "run.stall_s=5"]))
    with pytest.raises(StallError):
        finish(run)
    stalled.append(True)
    path = run.directory.path
    summary = json.loads((path / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert "stalled" in summary["reason"]
    (file,) = (path / "attempts/1/stacks").iterdir()
    assert "standing_still" in file.read_text()
    assert finish(Run.resume(path))["parameters_sha256"] == calm["parameters_sha256"]


DEAF = """
import ctypes, sys
from orchestrator import cli, stall
from orchestrator.trainer import Trainer
stall.GRACE_S = 1.0
def deaf(*_):
    ctypes.CDLL(None).sleep(60)  # inside of a library, where no exception arrives
Trainer.descend = deaf
sys.argv = ["advseq", "train", "seqgan", *sys.argv[1:]]
cli.main()
"""


def test_a_process_that_hears_nothing_is_ended(tmp_path: Path):
    started = time.monotonic()
    settings = [*UNITS, f"run.directory={tmp_path}", "run.name=it", "run.stall_s=3"]
    done = subprocess.run(
        [sys.executable, "-c", DEAF, *settings],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 75, done.stderr
    assert time.monotonic() - started < 55
    assert "the run has stalled" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "it/summary.json").read_text())["status"] == "failed"
    (file,) = (tmp_path / "it/attempts/1/stacks").iterdir()
    assert "in deaf" in file.read_text()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["rollout.unit_deadline_s=60", "learner.deadline_s=60"], "unit_deadline_s must be shorter"),
        (["run.stall_s=600"], "learner.deadline_s must be shorter than run.stall_s"),
    ],
)
def test_each_deadline_is_shorter_than_the_next(settings: list[str], told: str):
    with pytest.raises(UserError, match=told):
        load("seqgan", ["rollout.workers=1", *settings])
    load("seqgan", settings)  # without workers there is nobody whose deadline it would be
