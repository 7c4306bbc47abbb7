"""A server that is killed while a run trains: the run does not wait, and MLflow has everything in the end."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from orchestrator.journal import Journal
from orchestrator.recipe import load
from orchestrator.run import Run
from orchestrator.tracking import connect
from orchestrator.ui import running_server
from toys.processes import free_port
from toys.small_runs import UNITS

SETTINGS = [one for one in UNITS if one != "tracking.enabled=false"]


def kill_server(port: int) -> int:
    """SIGKILL to whoever listens there, and to what belongs to it; how many there were."""
    found = [
        process
        for process in psutil.Process(os.getpid()).children(recursive=True)
        if str(port) in process.cmdline() or "mlflow" in " ".join(process.cmdline())
    ]
    for process in found:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(found, timeout=10)
    return len(found)


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.parametrize("away_s", [3.0, 30.0])
def test_a_server_that_is_killed_in_the_middle_of_a_run(tmp_path: Path, away_s: float):
    port, store = free_port(), f"sqlite:///{tmp_path / 'mlflow.db'}"
    uri = f"http://127.0.0.1:{port}"
    settings = [*SETTINGS, f"run.directory={tmp_path}", f"tracking.uri={uri}", "steps=24"]
    run = Run.create(load("seqgan", settings))
    training = iter(run)
    with running_server(store, tmp_path, "127.0.0.1", port):
        for _ in range(6):
            next(training)
        assert kill_server(port) > 0
    until, waited = time.monotonic() + away_s, 0.0
    while time.monotonic() < until:
        started = time.monotonic()
        next(training)  # StopIteration would mean that the run was over before the server was back
        waited = max(waited, time.monotonic() - started)
        time.sleep(away_s / 10)
    assert waited < 10  # a step that waited for the server would take as long as its timeouts
    with running_server(store, tmp_path, "127.0.0.1", port):
        for _ in training:
            pass
        told = connect(uri)
        (experiment,) = [one for one in told.search_experiments() if one.name != "Default"]
        (found,) = told.search_runs([experiment.experiment_id])
        assert found.info.status == "FINISHED"
        expected: Counter[tuple[str, int, float]] = Counter(
            (name, record.step, value)
            for record in Journal(run.directory.path / "metrics.jsonl").read()
            for name, value in record.metrics.items()
        )
        held: Counter[tuple[str, int, float]] = Counter(
            (point.key, point.step, point.value)
            for name in {name for name, _, _ in expected}
            for point in told.get_metric_history(found.info.run_id, name)
        )
        assert held == expected
        assert max(held.values()) == 1
