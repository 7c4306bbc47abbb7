"""Tracking against real stores: what MLflow holds is what the run directory says, each thing once."""

from __future__ import annotations

import json
import math
import socket
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import TrackingConfig
from orchestrator.journal import Journal
from orchestrator.outbox import OUTBOX
from orchestrator.tracking import (
    Tracker,
    connect,
    store_uri,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs whose store is created once; its name has to be quoted in an address."""
    return tmp_path_factory.mktemp("my rüns")


@pytest.fixture
def directory(root: Path, request: pytest.FixtureRequest) -> Path:
    path: Path = root / request.node.name
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def _no_store_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def open_tracker(directory: Path, uri: str | None = None, **more: Any) -> Tracker:
    root = directory.parent
    given = {"experiment": "oracle", "run_name": directory.name, "params": {}, "tags": {}} | more
    uri = uri or store_uri(TrackingConfig(), root)
    return Tracker.open(uri, runs_root=root, run_directory=directory, **given)


def held(uri: str, run_id: str, name: str) -> list[tuple[int, float, int]]:
    """(step, value, time) of every point of a metric in MLflow, as stored."""
    history = connect(uri).get_metric_history(run_id, name)
    return sorted((metric.step, metric.value, metric.timestamp) for metric in history)


def written(directory: Path, name: str) -> list[tuple[int, float, int]]:
    """The same, from the journal."""
    records = Journal(directory / "metrics.jsonl").read()
    return [(r.step, r.metrics[name], r.time) for r in records if name in r.metrics]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_everything_arrives(directory: Path) -> None:
    uri = store_uri(TrackingConfig(), directory.parent)
    params = {"seed": 7, "generator": {"lr": 0.01, "name": "lstm"}} | {f"p{i}": i for i in range(150)}
    params["long"] = "x" * 7000
    tracker = open_tracker(directory, params=params, tags={"algorithm": "seqgan"})
    journal = Journal(directory / "metrics.jsonl")
    for step in range(30):
        journal.append(step, "adversarial", {f"loss/{i}": step + i / 64 for i in range(60)})
    journal.append(30, "adversarial", {"loss/0": math.nan, "loss/1": math.inf, "loss/2": 30.0})
    picture = directory / "curve.png"
    picture.write_bytes(b"not really a picture")
    tracker.log_text("three blind mice", "samples/step_000030.txt")
    tracker.log_figure_file(picture)
    tracker.log_file(directory / "gone.txt")
    tracker.log_dataset("coco", "0123456789abcdef", Path("corpus.txt"), {"sequences": 10_000})
    tracker.set_tags({"best": "30", "long": "y" * 9000})
    assert not tracker.close("FINISHED")  # for the file that is not there, and for nothing else
    assert tracker.refused == [f"{directory / 'gone.txt'} is gone"]
    assert tracker.error is None
    assert tracker.non_finite == 2

    client = connect(uri)
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", directory.name)
    assert run.info.end_time >= run.info.start_time
    assert run.data.params["generator.lr"] == "0.01"
    assert run.data.params["p149"] == "149"
    assert len(run.data.params) == 154
    assert len(run.data.params["long"]) == 6000
    assert run.data.tags["algorithm"] == "seqgan"
    assert (run.data.tags["best"], run.data.tags["non_finite_values"]) == ("30", "2")
    for name in ("loss/2", "loss/59"):
        assert held(uri, tracker.run_id, name) == written(directory, name)
    assert [step for step, _, _ in held(uri, tracker.run_id, "loss/0")] == list(range(30))
    assert run.inputs is not None
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("coco", "0123456789abcdef")
    assert json.loads(dataset.dataset.profile or "") == {"sequences": 10_000}
    assert json.loads(dataset.dataset.source) == {"uri": str(Path("corpus.txt").absolute())}
    assert [(tag.key, tag.value) for tag in dataset.tags] == [("mlflow.data.context", "training")]
    files = [
        file.path
        for folder in ("samples", "figures")
        for file in client.list_artifacts(tracker.run_id, folder)
    ]
    assert files == ["samples/step_000030.txt", "figures/curve.png"]
    artifacts = directory.parent / "mlartifacts" / tracker.run_id / "artifacts"
    assert (artifacts / "samples/step_000030.txt").read_text() == "three blind mice"
    assert not (directory / OUTBOX).exists()


def test_a_resumed_run_holds_each_metric_and_step_once(directory: Path) -> None:
    uri = store_uri(TrackingConfig(), directory.parent)
    journal = Journal(directory / "metrics.jsonl")
    first = open_tracker(directory, params={"lr": 0.1})
    for step in range(20):
        journal.append(
            step, "adversarial", {"loss/g": float(step)} | ({"eval/nll": 1.0} if step % 5 == 0 else {})
        )
        if step == 11:
            checkpoint = journal.sync()
    assert first.close("KILLED")
    run = connect(uri).get_run(first.run_id)
    assert run.info.status == "KILLED"
    before = held(uri, first.run_id, "loss/g")
    assert before == written(directory, "loss/g")

    journal.truncate(checkpoint)  # as resuming from step 11 does; steps 12 to 19 come again, later
    again = open_tracker(directory, params={"lr": 0.2, "new": 1}, run_id=first.run_id)
    assert (again.run_id, again.experiment_id) == (first.run_id, first.experiment_id)
    assert connect(uri).get_run(first.run_id).info.status == "RUNNING"
    for step in range(12, 25):
        journal.append(
            step, "adversarial", {"loss/g": float(step)} | ({"eval/nll": 1.0} if step % 5 == 0 else {})
        )
    journal.append(24, "controls", {"loss/g": 99.0})  # a step that this metric has already
    assert again.close("FINISHED")
    after = held(uri, first.run_id, "loss/g")
    assert [(step, value) for step, value, _ in after] == [(step, float(step)) for step in range(25)]
    assert after[:20] == before
    assert [step for step, _, _ in held(uri, first.run_id, "eval/nll")] == [0, 5, 10, 15, 20]
    run = connect(uri).get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.1", "new": "1"}


def test_a_control_is_a_child_run(directory: Path) -> None:
    parent = open_tracker(directory)
    folder = directory / "controls" / "constant_reward"
    folder.mkdir(parents=True)
    uri = store_uri(TrackingConfig(), directory.parent)
    child = Tracker.open(
        uri,
        runs_root=directory.parent,
        experiment="oracle",
        run_name="constant_reward",
        run_directory=folder,
        params={},
        tags={},
        parent_run_id=parent.run_id,
    )
    Journal(folder / "metrics.jsonl").append(3, "adversarial", {"loss/g": 0.5})
    assert child.close("FINISHED")
    assert parent.close("FAILED")
    client = connect(uri)
    found = client.search_runs([parent.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.run_id}'")
    assert [(run.info.run_id, run.info.status) for run in found] == [(child.run_id, "FINISHED")]
    assert client.get_run(parent.run_id).info.status == "FAILED"
    assert client.get_run(parent.run_id).data.metrics == {}
    assert held(uri, child.run_id, "loss/g") == written(folder, "loss/g")


def test_a_run_that_the_store_lost_is_told_again_from_the_beginning(directory: Path) -> None:
    uri = store_uri(TrackingConfig(), directory.parent)
    Journal(directory / "metrics.jsonl").append(0, "adversarial", {"loss/g": 2.0})
    first = open_tracker(directory)
    assert first.close("FINISHED")
    connect(uri).delete_run(first.run_id)
    for known in (first.run_id, "0" * 32):
        again = open_tracker(directory, run_id=known)
        assert again.close("FINISHED")
        assert again.run_id != known
        assert held(uri, again.run_id, "loss/g") == written(directory, "loss/g")
