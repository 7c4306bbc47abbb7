"""A real server: it answers where it said it would, shows artifacts, and leaves no process behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from orchestrator.config import TrackingConfig
from orchestrator.errors import UserError
from orchestrator.tracking import Tracker, store_uri
from orchestrator.ui import serve

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
        body: bytes = answer.read()
        return body


@pytest.mark.services
def test_the_server_shows_the_runs_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri, port = store_uri(TrackingConfig(), tmp_path), free_port()
    directory = tmp_path / "run-0"
    directory.mkdir()
    tracker = Tracker.open(
        uri,
        runs_root=tmp_path,
        experiment="oracle",
        run_name="run-0",
        run_directory=directory,
        params={},
        tags={},
    )
    tracker.log_text("three blind mice", "samples/step_000001.txt")
    assert tracker.close("FINISHED")
    # who started the tests may have them ignore Ctrl-C, as a shell does with what it puts in the background
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from pathlib import Path; from orchestrator.ui import serve; "
    program += "serve(sys.argv[1], Path(sys.argv[2]), port=int(sys.argv[3]), open_browser=False)"
    command = [sys.executable, "-c", program, uri, str(tmp_path), str(port)]
    ui = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert ui.stdout is not None
        link = ui.stdout.readline().strip()
        base = f"http://127.0.0.1:{port}"
        view = "workflowType=machine_learning&compareRunsMode=CHART"
        assert link == f"{base}/#/experiments/{tracker.experiment_id}/runs?{view}"
        assert get(f"{base}/health") == b"OK"
        assert b"<html" in get(base)
        artifact = f"{base}/get-artifact?run_id={tracker.run_id}&path=samples/step_000001.txt"
        assert get(artifact) == b"three blind mice"
        with pytest.raises(UserError, match=rf"port {port} .* try --port \d+"):
            serve(uri, tmp_path, port=port)
        children = psutil.Process(ui.pid).children(recursive=True)
        assert children
        ui.send_signal(signal.SIGINT)
        _, errors = ui.communicate(timeout=20)
        assert ui.returncode == 0, errors
        assert "Traceback" not in errors
        assert not [child for child in children if child.is_running()]
        with socket.socket() as probe:  # and the port is free again
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    finally:
        if ui.poll() is None:
            ui.terminate()
            ui.communicate(timeout=20)


def test_without_a_store_the_user_is_told_to_train(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Train first: advseq train"):
        serve(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert list(tmp_path.iterdir()) == []
