"""A learner that dies in the middle of something: another goes on, to the same bits, and not for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.actors import Actors
from orchestrator.errors import ResumableError
from orchestrator.journal import Journal, evaluates
from orchestrator.recipe import load
from orchestrator.run import Run
from toys.mortal import PHASES, WORKER_PHASES, mortal, mortal_worker
from toys.small_runs import UNITS, finish

pytestmark = pytest.mark.ray

WORKERS = ["rollout.workers=1", "rollout.placement=workers"]


def tiny(folder: Path, *more: str):
    return load("seqgan", [*UNITS, f"run.directory={folder}", *more])


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process, whose learner does not die."""
    run = Run.create(tiny(tmp_path_factory.mktemp("calm")))
    finish(run)
    return run.directory.path


def of_summary(run: Path) -> str:
    return json.loads((run / "summary.json").read_text())["parameters_sha256"]


def measured(run: Path) -> list[tuple[int, dict[str, float]]]:
    """Evaluations as they stand in the journal; a step that is there twice is seen."""
    found = [record for record in Journal(run / "metrics.jsonl").read() if evaluates(record)]
    return [
        (r.step, {name: value for name, value in r.metrics.items() if name.startswith(("eval/", "reward/"))})
        for r in found
    ]


@pytest.mark.parametrize("phase", PHASES)
def test_another_learner_goes_on_to_the_same_bits(
    cluster: object, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
):
    monkeypatch.setattr(Actors, "learner_class", mortal(phase, tmp_path / "dead"))
    warned: list[str] = []
    run = Run.create(tiny(tmp_path, *WORKERS), warn=warned.append)
    summary = finish(run)
    assert len(list((tmp_path / "dead").iterdir())) == 1
    assert summary["parameters_sha256"] == of_summary(calm)
    assert measured(run.directory.path) == measured(calm)
    events = [json.loads(line) for line in (run.directory.path / "events.jsonl").read_text().splitlines()]
    (lost,) = [event for event in events if event["event"] == "learner_lost"]
    assert lost["restarts"] == 1
    assert sum("another one goes on" in line for line in warned) == 1
    assert [e["event"] for e in events][-1] == "finished"


@pytest.mark.parametrize("phase", WORKER_PHASES)
def test_a_worker_that_dies_changes_nothing(
    cluster: object, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
):
    monkeypatch.setattr(Actors, "worker_class", mortal_worker(phase, tmp_path / "dead"))
    run = Run.create(tiny(tmp_path, *WORKERS, "rollout.workers=2"))
    summary = finish(run)
    assert len(list((tmp_path / "dead").iterdir())) == 1
    assert summary["parameters_sha256"] == of_summary(calm)
    assert measured(run.directory.path) == measured(calm)


def test_a_worker_that_is_gone_for_good_is_replaced(
    cluster: object, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Actors, "worker_class", mortal_worker("unit", tmp_path / "dead"))
    settings = ["rollout.workers=2", "rollout.worker_restarts=0"]
    summary = finish(run := Run.create(tiny(tmp_path, *WORKERS, *settings)))
    assert len(list((tmp_path / "dead").iterdir())) == 1
    assert summary["parameters_sha256"] == of_summary(calm)
    events = [json.loads(line) for line in (run.directory.path / "events.jsonl").read_text().splitlines()]
    assert [event["count"] for event in events if event["event"] == "workers_replaced"] == [1]
    last = list(Journal(run.directory.path / "metrics.jsonl").read())[-1].metrics
    assert last["fault/workers_alive"] == 2


@pytest.mark.parametrize("fallback", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_learner_without_workers_goes_on_alone_if_it_may(
    cluster: object, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fallback: str
):
    monkeypatch.setattr(Actors, "worker_class", mortal_worker("unit", tmp_path / "dead"))
    settings = ["rollout.worker_restarts=0", f"rollout.fallback={fallback}"]
    run = Run.create(tiny(tmp_path, *WORKERS, *settings))
    if fallback == "false":
        with pytest.raises(ResumableError, match="0 of 1 rollout workers are alive"):
            finish(run)
        return
    assert finish(run)["parameters_sha256"] == of_summary(calm)
    assert measured(run.directory.path) == measured(calm)
    events = [json.loads(line) for line in (run.directory.path / "events.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "workers_given_up" for event in events) == 1


@pytest.mark.slow
def test_a_learner_that_dies_at_the_same_place_is_given_up(
    cluster: object, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Actors, "learner_class", mortal("generator", tmp_path / "dead", times=9))
    warned: list[str] = []
    run = Run.create(tiny(tmp_path, *WORKERS, "learner.restarts=1"), warn=warned.append)
    with pytest.raises(ResumableError, match="the learner was lost"):
        finish(run)
    assert len(list((tmp_path / "dead").iterdir())) == 2
    assert any("1 times in a row without progress" in line for line in warned)
    monkeypatch.undo()
    summary = finish(Run.resume(run.directory.path))
    assert summary["parameters_sha256"] == of_summary(calm)


@pytest.mark.slow
def test_a_learner_that_hangs_says_where_it_stands_and_is_replaced(
    cluster: object, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Actors, "learner_class", mortal("discriminator", tmp_path / "hangs", hangs=True))
    warned: list[str] = []
    limits = ["learner.deadline_s=12", "rollout.unit_deadline_s=11"]
    run = Run.create(tiny(tmp_path, *WORKERS, *limits), warn=warned.append)
    assert finish(run)["parameters_sha256"] == of_summary(calm)
    (pid,) = [file.read_text() for file in (tmp_path / "hangs").iterdir()]
    (told,) = (run.directory.path / "attempts/1/stacks").iterdir()
    assert told.name == f"learner-{pid}-1.txt"
    assert "in descending" in told.read_text()
    (line,) = [line for line in warned if "has not ended `advance` after 12 s" in line]
    assert "attempts/1/stacks" in line
