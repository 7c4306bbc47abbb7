"""The evaluator: what it measures is what the learner would have, whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.journal import Journal, by_step, evaluates
from orchestrator.recipe import load
from orchestrator.run import Run
from toys.processes import actors
from toys.small_runs import UNITS, finish

ROOT = Path(__file__).parents[2]
TINY = [*UNITS, "steps=5", 'controls=["shuffled_reward"]']

pytestmark = pytest.mark.ray


def measured(run: Path) -> dict[int, dict[str, float]]:
    """What the evaluations of a run found, by step."""
    records = [record for record in by_step(Journal(run / "metrics.jsonl").read()) if evaluates(record)]
    return {r.step: {n: v for n, v in r.metrics.items() if n.startswith("eval/")} for r in records}


def compared(run: Path) -> dict[str, object]:
    """What a summary says of the result."""
    summary = json.loads((run / "summary.json").read_text())
    controls = {
        name: {key: value for key, value in metrics.items() if key.startswith(("eval/", "reward/", "loss/"))}
        for name, metrics in summary["controls"].items()
    }
    return {"controls": controls, **{k: summary[k] for k in ("parameters_sha256", "best", "undefined")}}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Run.create(load("seqgan", [*TINY, f"run.directory={tmp_path_factory.mktemp('calm')}"]))
    finish(run)
    return run.directory.path


# The controller kills itself while an evaluation is under way, as the last checkpoint says.
KILLED = """
import json, os, signal, sys
from orchestrator.recipe import load
from orchestrator.run import Run
run = Run.create(load("seqgan", sys.argv[1:]))
for progress in run:
    if progress.step >= 6:
        newest = sorted((run.directory.path / "checkpoints").glob("step_*/state.json"))[-1]
        if json.loads(newest.read_text())["waiting"]:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_kill_loses_and_doubles_no_evaluation(cluster: object, calm: Path, tmp_path: Path):
    settings = [*TINY, "rollout.workers=1", "evaluation.actor=true", "run.name=it"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *settings],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    run = tmp_path / "runs/it"
    chosen = json.loads((run / "placement.json").read_text())
    assert chosen["break_even_workers"] >= 1
    dead = 0
    resumed = Run.resume(run, overrides=["rollout.workers=2"])
    for progress in resumed:
        if progress.step == 8 and not progress.branch:  # the evaluator dies, and is started again
            for process in actors("EvaluatorActor"):
                process.kill()
                dead += 1
    assert dead == 1
    assert measured(run) == measured(calm)
    assert compared(run) == compared(calm)
    steps = [r.step for r in Journal(run / "metrics.jsonl").read() if evaluates(r)]
    assert len(steps) == len(set(steps))
    assert json.loads((run / "placement.json").read_text()) == chosen  # not measured again
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [e["placement"] for e in events if e["event"] == "placed"] == [chosen["placement"]] * 2
    for file in (calm / "samples").iterdir():
        assert (run / "samples" / file.name).read_text() == file.read_text()
