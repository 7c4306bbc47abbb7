"""Stores that die, lock, or cannot be used: nothing is lost, nothing waits, everything is explained."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import TrackingConfig
from orchestrator.journal import Journal
from orchestrator.outbox import OUTBOX
from orchestrator.tracking import NoTracker, Tracker, TrackingUnavailable, connect, store_uri
from orchestrator.ui import running_server
from toys.processes import free_port

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


def until(condition: Any, seconds: float = 20) -> Iterator[None]:
    """Pauses until the condition holds; fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
        yield


@pytest.mark.services
def test_a_server_that_dies_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    port, lasting, ended = free_port(), tmp_path / "lasting", tmp_path / "ended"
    store = store_uri(TrackingConfig(), tmp_path)
    trackers = {}
    with running_server(store, tmp_path, "127.0.0.1", port) as uri:
        for directory in (lasting, ended):
            directory.mkdir()
            trackers[directory] = open_tracker(directory, uri)
            Journal(directory / "metrics.jsonl").append(0, "adversarial", {"loss/g": 0.0})
        for _ in until(lambda: all(held(uri, tracker.run_id, "loss/g") for tracker in trackers.values())):
            pass
    slowest = 0.0
    for directory, tracker in trackers.items():
        for step in range(1, 20):
            start = time.perf_counter()
            Journal(directory / "metrics.jsonl").append(step, "adversarial", {"loss/g": float(step)})
            tracker.log_text(f"sample {step}", f"samples/step_{step:06d}.txt")
            slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.5  # nothing waited for the server
    for _ in until(lambda: all(tracker.error for tracker in trackers.values())):
        pass
    start = time.monotonic()
    assert not trackers[ended].close("FINISHED", timeout=1)
    assert time.monotonic() - start < 3
    with pytest.raises(TrackingUnavailable, match="cannot be used"):
        open_tracker(ended, uri, run_id=trackers[ended].run_id)
    with running_server(store, tmp_path, "127.0.0.1", port):
        assert trackers[lasting].close("FINISHED")  # it comes back by itself
        again = open_tracker(ended, uri, run_id=trackers[ended].run_id)
        assert again.close("FINISHED")
        for directory, tracker in trackers.items():
            assert held(uri, tracker.run_id, "loss/g") == written(directory, "loss/g")
            assert len(connect(uri).list_artifacts(tracker.run_id, "samples")) == 19
            assert connect(uri).get_run(tracker.run_id).info.status == "FINISHED"


def test_what_is_recorded_while_there_is_no_store_is_told_to_the_next_tracker(directory: Path) -> None:
    nobody = NoTracker()
    nobody.log_text("lost", "lost.txt")
    assert nobody.close("FINISHED")
    offline = NoTracker(directory)
    (directory / "a.txt").write_text("a")
    offline.log_text("one line\nand another", "samples/one.txt")
    offline.log_file(directory / "a.txt", "texts")
    offline.set_tags({"data": "coco"})
    assert offline.log_sampler(directory) is None
    assert not offline.close("FINISHED")
    with (directory / OUTBOX).open("a") as file:
        file.write('\n{"kind": "text", "argu')  # killed while writing
    tracker = open_tracker(directory)
    assert tracker.close("FINISHED")
    artifacts = directory.parent / "mlartifacts" / tracker.run_id / "artifacts"
    found = {str(path.relative_to(artifacts)): path.read_text() for path in artifacts.rglob("*.txt")}
    assert found == {"samples/one.txt": "one line\nand another", "texts/a.txt": "a"}
    assert not (directory / OUTBOX).exists()


def test_a_store_that_cannot_be_used_is_explained(directory: Path) -> None:
    (directory / "notes.txt").write_text(
        "this is not a database, but it is long enough to look like one" * 20
    )
    for uri in (
        f"sqlite:///{directory / 'notes.txt'}",
        f"sqlite:///{directory / 'notes.txt' / 'mlflow.db'}",
        f"http://127.0.0.1:{free_port()}",
        str(directory),
        "nonsense://somewhere",
    ):
        start = time.monotonic()
        with pytest.raises(TrackingUnavailable, match=r"cannot be used: .+ Start it, set tracking\.uri"):
            open_tracker(directory, uri)
        assert time.monotonic() - start < 10


def test_a_deleted_experiment_is_explained(directory: Path) -> None:
    uri = store_uri(TrackingConfig(), directory.parent)
    tracker = open_tracker(directory, experiment="old")
    assert tracker.close("FINISHED")
    connect(uri).delete_experiment(tracker.experiment_id)
    with pytest.raises(TrackingUnavailable, match="'old' was deleted"):
        open_tracker(directory, experiment="old")


def test_two_processes_may_create_one_store_together(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from orchestrator.tracking import Tracker
root, name = Path(sys.argv[1]), sys.argv[2]
(root / name).mkdir()
uri = f"sqlite:///{root}/mlflow.db"
print(Tracker.open(uri, runs_root=root, experiment="e", run_name=name, run_directory=root / name,
                   params={}, tags={}).close("FINISHED"))
"""
    commands = [[sys.executable, "-c", program, str(tmp_path), name] for name in ("a", "b")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=environment, **pipes) for command in commands]
    assert [process.communicate(timeout=60) for process in processes] == [("True\n", "")] * 2
