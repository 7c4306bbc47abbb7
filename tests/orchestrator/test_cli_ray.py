"""Ray behind the command line: exit codes, signals, and that no process is left behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from toys.processes import MARK, eventually, left
from toys.small_runs import TINY

ROOT = Path(__file__).parents[2]
SETTINGS = [
    *TINY, "tracking.enabled=false", "controls=none", "rollout.placement=workers", "run.name=it"
]  # fmt: skip

pytestmark = pytest.mark.ray


class Command:
    """``advseq`` in a process group of its own, every descendant of it recognisable."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.mark = f"mark-{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), MARK: self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, timeout: float = 120) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def left(self, patience: float = 10.0) -> list[str]:
        """Processes that it started and that are still there after a while."""
        eventually(lambda: not left(self.mark), patience)
        return left(self.mark)

    def wait_for(self, file: Path, text: str, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while not (file.is_file() and text in file.read_text()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, f"{file} does not say {text}"
            time.sleep(0.05)


def test_success_leaves_nothing_behind(tmp_path: Path):
    command = Command("train", "seqgan", *SETTINGS, "steps=1", "--workers", "2", "--json", cwd=tmp_path)
    code, out, err = command.finish()
    assert code == 0, err
    assert json.loads(out)["status"] == "finished"
    assert not command.left()
    events = [json.loads(line) for line in (tmp_path / "runs/it/events.jsonl").read_text().splitlines()]
    (placed,) = [event for event in events if event["event"] == "placed"]
    assert placed["placement"] == "workers"
    assert placed["workers"] == 2


@pytest.mark.slow
def test_a_failure_leaves_nothing_behind(tmp_path: Path):
    command = Command(
        "train", "seqgan", *SETTINGS, "steps=1", "best.metric=eval/bleu", "--workers", "1", cwd=tmp_path
    )
    code, _, err = command.finish()
    assert code == 2
    assert "best.metric = eval/bleu is not measured here" in err
    assert "Traceback" not in err
    assert not command.left()


@pytest.mark.parametrize(
    ("number", "code", "everyone"),
    [
        pytest.param(signal.SIGINT, 130, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, False, marks=pytest.mark.slow),
        (signal.SIGTERM, 143, True),
        (signal.SIGKILL, -9, False),
    ],
)
def test_a_signal_ends_everything(tmp_path: Path, number: signal.Signals, code: int, everyone: bool):
    command = Command("train", "seqgan", *SETTINGS, "steps=100000", "--workers", "1", cwd=tmp_path)
    command.wait_for(tmp_path / "runs/it/metrics.jsonl", "adversarial")
    if everyone:  # a terminal sends SIGINT to everything in the foreground, batch systems SIGTERM
        os.killpg(command.process.pid, number)
    else:
        command.process.send_signal(number)
    got, _, err = command.finish()
    assert got == code, err
    assert "Traceback" not in err
    assert not command.left(30.0)
    if number == signal.SIGKILL:
        return
    run = tmp_path / "runs/it"
    assert json.loads((run / "summary.json").read_text())["status"] == "stopped"
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert (run / f"checkpoints/step_{last['step']:06d}/manifest.json").is_file()


def test_what_cannot_be_placed_is_exit_code_3(tmp_path: Path):
    started = time.monotonic()
    command = Command("train", "seqgan", *SETTINGS, "learner.gpus=64", "--workers", "1", cwd=tmp_path)
    code, _, err = command.finish(timeout=30)
    assert code == 3, err
    assert time.monotonic() - started < 30
    assert "64" in err
    assert "Traceback" not in err
    assert not command.left()


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path):
    arguments = ["--workers", "1", "--address", "127.0.0.1:1"]
    code, _, err = (command := Command("train", "seqgan", *SETTINGS, *arguments, cwd=tmp_path)).finish()
    assert code == 3, err
    assert "127.0.0.1:1" in err
    assert "Traceback" not in err
    assert not command.left()
