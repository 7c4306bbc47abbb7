"""The controller is killed again and again, at random times, and the run ends as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.journal import Journal, evaluates
from orchestrator.recipe import load
from orchestrator.run import Run
from toys.small_runs import UNITS, finish

ROOT = Path(__file__).parents[2]
STEPS = {1: 20, 2: 20, 20: 120}
"""Adversarial steps, by how often it is killed: each attempt gets on by some."""


def command(
    *arguments: str, cwd: Path, program: tuple[str, str] = ("-m", "orchestrator")
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def evaluations(run: Path) -> list[tuple[int, dict[str, float]]]:
    records = [record for record in Journal(run / "metrics.jsonl").read() if evaluates(record)]
    return [(r.step, {k: v for k, v in r.metrics.items() if k.startswith("eval/")}) for r in records]


def attempts(run: Path) -> int:
    events = run / "events.jsonl"
    return events.read_text().count('"event": "placed"') if events.is_file() else 0


def kill_soon(process: subprocess.Popen[str], run: Path, begun: int, rng: random.Random) -> None:
    """A SIGKILL at a random moment after the attempt has everything it needs."""
    deadline = time.monotonic() + 120
    while attempts(run) <= begun:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(rng.uniform(0.0, 1.5))
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.ray
@pytest.mark.parametrize(
    ("kills", "workers"),
    [
        (2, 0),
        pytest.param(1, 2, marks=pytest.mark.slow),
        pytest.param(20, 0, marks=pytest.mark.chaos),
        pytest.param(20, 2, marks=pytest.mark.chaos),
    ],
)
@pytest.mark.timeout(1200)
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path, kills: int, workers: int):
    settings = [*UNITS, f"steps={STEPS[kills]}", f"run.directory={tmp_path}"]
    calm = Run.create(load("seqgan", [*settings, "run.name=calm"]))
    expected = finish(calm)
    run, rng = tmp_path / "it", random.Random(kills)
    process = command("train", "seqgan", *settings, "run.name=it", "--workers", str(workers), cwd=tmp_path)
    killed = 0
    while killed < kills:
        kill_soon(process, run, killed, rng)
        assert process.returncode == -signal.SIGKILL, "it ended before it could be killed: give it more steps"
        killed += 1
        process = command("resume", str(run), "--workers", str(workers), cwd=tmp_path)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    summary = json.loads((run / "summary.json").read_text())
    assert summary["parameters_sha256"] == expected["parameters_sha256"]
    assert evaluations(run) == evaluations(calm.directory.path)
    for file in (calm.directory.path / "samples").iterdir():
        assert (run / "samples" / file.name).read_text() == file.read_text()


STAGES = {
    "pretrain_generator": "metrics.jsonl",
    "pretrain_discriminator": "metrics.jsonl",
    "adversarial": "metrics.jsonl",
    "control": "controls/constant_reward/metrics.jsonl",
}
SLOWLY = """
import sys, time
from orchestrator import cli
from orchestrator.trainer import Trainer
advance = Trainer.advance
def slowly(self):
    time.sleep(0.3)  # so that a signal meets the stage that it is meant for
    return advance(self)
Trainer.advance = slowly
sys.argv = ["advseq", *sys.argv[1:]]
cli.main()
"""


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Run.create(load("seqgan", [*EVERY_STAGE, f"run.directory={tmp_path_factory.mktemp('calm')}"]))
    finish(run)
    return run.directory.path


EVERY_STAGE = [*UNITS, "pretrain.generator_epochs=4", "pretrain.discriminator_rounds=4", "steps=4"]
EVERY_STAGE.append('controls=["constant_reward"]')


@pytest.mark.parametrize(
    "stage",
    [pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES if stage != "control"] + ["control"],
)
def test_a_run_that_is_terminated_ends_as_if_it_had_not_been(tmp_path: Path, calm: Path, stage: str):
    settings = [*EVERY_STAGE, f"run.directory={tmp_path}", "run.name=it"]
    process = command("train", "seqgan", *settings, cwd=tmp_path, program=("-c", SLOWLY))
    run, deadline = tmp_path / "it", time.monotonic() + 100
    journal, named = run / STAGES[stage], stage if stage != "control" else "adversarial"
    while not (journal.is_file() and f'"stage": "{named}"' in journal.read_text()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "stopped"
    stopped_at = list(Journal(journal).read())[-1]
    assert stopped_at.stage == named
    finished = finish(Run.resume(run))
    expected = json.loads((calm / "summary.json").read_text())
    assert finished["parameters_sha256"] == expected["parameters_sha256"]
    assert evaluations(run) == evaluations(calm)
    control = "controls/constant_reward"
    assert evaluations(run / control) == evaluations(calm / control)
