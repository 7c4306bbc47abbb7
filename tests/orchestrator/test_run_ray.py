"""A whole run through Ray: the same bits whoever makes the rollouts, and whoever of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from orchestrator.errors import PlacementError, ResumableError
from orchestrator.journal import Journal
from orchestrator.recipe import load
from orchestrator.run import Run
from toys.processes import actors
from toys.small_runs import UNITS, finish

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.ray


def tiny(folder: Path, *more: str):
    return load("seqgan", [*UNITS, f"run.directory={folder}", *more])


def evaluations(run: Path) -> dict[int, dict[str, float]]:
    """What the evaluations of a run found, by step; each step must have one at most."""
    found: dict[int, dict[str, float]] = {}
    for record in Journal(run / "metrics.jsonl").read():
        measured = {name: value for name, value in record.metrics.items() if name.startswith("eval/")}
        if measured:
            assert record.step not in found
            found[record.step] = measured
    return found


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process, without Ray: what every other must equal."""
    run = Run.create(tiny(tmp_path_factory.mktemp("calm")))
    finish(run)
    return run.directory.path


@pytest.fixture(scope="module")
def expected(calm: Path) -> str:
    return json.loads((calm / "summary.json").read_text())["parameters_sha256"]


@pytest.mark.parametrize(
    ("workers", "more"),
    [(1, []), (2, ["rollout.unit=7", "rollout.sample_unit=50"]),
     pytest.param(4, ["evaluation.actor=true"], marks=pytest.mark.slow),
     (2, ["rollout.placement=learner"])],
)  # fmt: skip
def test_workers_do_not_change_a_bit(
    cluster: object, calm: Path, expected: str, tmp_path: Path, workers: int, more: list[str]
):
    summary = finish(run := Run.create(tiny(tmp_path, f"rollout.workers={workers}", *more)))
    assert summary["parameters_sha256"] == expected
    path = run.directory.path
    assert evaluations(path) == evaluations(calm)
    assert summary["best"] == json.loads((calm / "summary.json").read_text())["best"]
    for name in ("step_000002.txt", "step_000006.txt"):
        assert (path / "samples" / name).read_text() == (calm / "samples" / name).read_text()
    events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    (placed,) = [event for event in events if event["event"] == "placed"]
    units = [r.metrics.get("rollout/units_total", 0.0) for r in Journal(path / "metrics.jsonl").read()]
    assert max(units) > 0
    assert placed["learner"]["exact"]
    if "rollout.placement=learner" in more:
        assert placed["workers"] == 0


def test_the_precision_of_scores_travels_with_the_units(cluster: object, expected: str, tmp_path: Path):
    hashes = set()
    for name, workers in (("here", 0), ("there", 2)):
        settings = ["scoring.precision=bf16", f"rollout.workers={workers}", f"run.name={name}"]
        run = Run.create(tiny(tmp_path, *settings, "rollout.placement=workers"))
        hashes.add(finish(run)["parameters_sha256"])
        last = [r.metrics for r in Journal(run.directory.path / "metrics.jsonl").read()][-1]
        assert 0 < last["rollout/precision_deviation"] < 0.01
    assert len(hashes) == 1
    assert hashes != {expected}


def test_without_workers_ray_is_not_imported(expected: str, tmp_path: Path):
    code = """
import sys
from orchestrator.recipe import load
from orchestrator.run import Run
run = Run.create(load("seqgan", sys.argv[1:]))
for _ in run:
    pass
assert "ray" not in sys.modules
print(run.summary["parameters_sha256"])
"""
    arguments = [*UNITS, f"run.directory={tmp_path}", "rollout.unit=9"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == expected


def kill_at_work(title: str) -> tuple[threading.Thread, list[int]]:
    """Ends one actor by SIGKILL once it has computed a moment; the list gets its number when it is gone."""
    victim, gone = actors(title)[0], []
    used = victim.cpu_times().user

    def kill() -> None:
        while victim.cpu_times().user < used + 0.1:
            time.sleep(0.01)
        victim.send_signal(signal.SIGKILL)
        psutil.wait_procs([victim], timeout=30)
        if not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE:
            gone.append(victim.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread, gone


# each worker computes for about a second in a step of these
LONG = ["algorithm.completions=300", "batch_size=64", "steps=2"]


# the same of replies to histories, with a critic and teacher forcing
REPLIES = """
    data.oracle_vocabulary=40 data.oracle_length=8 data.oracle_hidden=8 data.sequences=96 data.held_out=64
    generator.embedding=8 generator.hidden=8 discriminator.embedding=6 discriminator.hidden=8
    algorithm.critic.embedding=4 algorithm.critic.hidden=4 pretrain.generator_epochs=2
    pretrain.discriminator_rounds=1 steps=2 algorithm.completions=300 algorithm.d_steps=1 batch_size=64
    evaluation.samples=64 evaluation.adversarial=false evaluation.every=1 evaluation.diversity_samples=32
    rollout.unit=4 rollout.sample_unit=32 checkpoint.every_seconds=0 controls=none tracking.enabled=false
    learner.threads=1
""".split()


@pytest.mark.parametrize(("recipe", "settings"), [("seqgan", [*UNITS, *LONG]), ("dialogue_quick", REPLIES)])
def test_a_worker_killed_in_the_middle_of_a_step_changes_nothing(
    cluster: object, tmp_path: Path, recipe: str, settings: list[str]
):
    calm = Run.create(load(recipe, [*settings, f"run.directory={tmp_path / 'calm'}"]))
    undisturbed = finish(calm)["parameters_sha256"]
    workers = ["rollout.workers=2", "rollout.placement=workers", f"run.directory={tmp_path / 'killed'}"]
    run = Run.create(load(recipe, [*settings, *workers]))
    thread, gone, deaths = None, [], []
    for progress in run:
        if progress.step == 4:
            thread, gone = kill_at_work("RayRolloutWorker")
        deaths.append(progress.metrics.get("fault/worker_deaths_total", 0.0))
    assert thread is not None
    thread.join()
    assert gone
    assert deaths[-1] == 1.0
    assert run.summary["parameters_sha256"] == undisturbed


def test_a_learner_that_dies_leaves_a_run_that_can_be_resumed(cluster: object, tmp_path: Path):
    settings = ["rollout.workers=1", "rollout.placement=workers", "steps=300", "learner.restarts=0"]
    run = Run.create(tiny(tmp_path, *settings))
    training = iter(run)
    while next(training).step < 4:
        """The adversarial stage begins."""
    thread, gone = kill_at_work("LearnerActor")
    with pytest.raises(ResumableError, match="learner"):
        list(training)
    thread.join()
    assert gone
    assert run.summary["status"] == "failed"
    reached = list(Journal(run.directory.path / "metrics.jsonl").read())[-1].step
    went_on = 0
    for progress in (resumed := Run.resume(run.directory.path, overrides=["rollout.workers=0"])):
        went_on = progress.step
        if went_on == reached + 2:
            resumed.stop()
    assert went_on == reached + 2
    adversarial = reached + 2 - 3  # after two epochs and one round
    undisturbed = finish(Run.create(tiny(tmp_path / "calm", f"steps={adversarial}")))
    assert resumed.summary["parameters_sha256"] == undisturbed["parameters_sha256"]


def test_what_cannot_be_placed_is_said_at_once(cluster: object, tmp_path: Path):
    for more in (["learner.gpus=64", "rollout.workers=1"], ["learner.gpus=64"], ["rollout.workers=99999"]):
        run = Run.create(tiny(tmp_path, *more))
        with pytest.raises(PlacementError, match=r"64|99999"):
            finish(run)
        assert run.summary["status"] == "failed"
