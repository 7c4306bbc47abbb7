"""What is done around Ray, without Ray."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from workers import ray_environment as environment
from workers.ray_environment import cannot_join, make_directory, refusal, undisturbed


def test_handlers_and_environment_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with undisturbed():
            assert "PYTHONDONTWRITEBYTECODE" not in os.environ
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert os.environ["PYTHONDONTWRITEBYTECODE"] == "1"
        signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGTERM]
        # Ray's handler ends the process: the signal is handed on to whom it belongs
        with pytest.raises(SystemExit, match="143"), undisturbed():
            sys.exit(1)
        assert received == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_folder_leaves_room_for_the_names_of_sockets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    made = make_directory()
    try:
        assert len(str(made)) + 66 <= 107
        assert made.stat().st_mode & 0o077 == 0
    finally:
        environment.remove(made)
    assert not made.exists()


DIES = """
import os, signal, sys
from workers.ray_environment import make_directory
print(make_directory(keep=sys.argv[1:] == ["keep"]), flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("keep", [False, True])
def test_the_folder_of_a_killed_process_is_removed_and_no_other(
    monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as base:  # a short path
        monkeypatch.setattr(tempfile, "tempdir", base)
        foreign = Path(base, "advseq-foreign")  # of this name, but without the file
        foreign.mkdir()
        own = make_directory()
        with subprocess.Popen(
            [sys.executable, "-c", DIES, *["keep"] * keep],
            env={**os.environ, "TMPDIR": base, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            theirs = Path(other.stdout.readline().strip())
            assert theirs.parent == Path(base)
            (theirs / "log").write_text("of Ray")
            environment.remove_abandoned()
            assert theirs.exists()  # its owner lives
            other.communicate(timeout=30)
        assert other.returncode == -signal.SIGKILL
        environment.remove_abandoned()
        assert theirs.exists() == keep
        assert foreign.exists()
        assert own.exists()
        environment.remove(own)


def test_a_program_that_is_started_does_not_keep_the_folder_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        monkeypatch.setattr(tempfile, "tempdir", base)
        made = make_directory()
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            os.close(environment._locks.pop(made))  # as the end of this process does
            environment.remove_abandoned()
            assert not made.exists()
            child.communicate(b"\n", timeout=30)


def group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text)


def test_memory_is_what_the_tightest_control_group_leaves(tmp_path: Path) -> None:
    own, mib = tmp_path / "own", 2**20
    own.write_text("0::/job/step\n")
    machine = psutil.virtual_memory().total / mib
    two = tmp_path / "two"
    group(two / "job" / "step", {"max": "max\n", "current": str(90 * mib), "stat": "inactive_file 0"})
    assert 0 < environment.free_memory(two, own) <= machine
    stat = f"anon 7\ninactive_file {20 * mib}\nactive_file {10 * mib}\n"
    group(two / "job", {"max": f"{100 * mib}\n", "current": str(90 * mib), "stat": stat})
    assert environment.free_memory(two, own) == 40
    group(two / "job", {"current": str(150 * mib)})
    assert environment.free_memory(two, own) == 0
    one = tmp_path / "one"
    own.write_text("9:cpu:/x\n4:memory:/elsewhere\n0::/\n")
    stat = f"inactive_file 0\ntotal_inactive_file {mib}\ntotal_active_file 0\n"
    group(one / "memory", {"limit_in_bytes": f"{50 * mib}", "usage_in_bytes": f"{30 * mib}", "stat": stat})
    assert environment.free_memory(one, own) == 21
    assert 0 < environment.free_memory(tmp_path / "none", tmp_path / "none") <= machine


def test_an_address_is_tried_before_ray_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert refusal(f"127.0.0.1:{port}") is None
    assert "nothing answers there" in (refusal(f"127.0.0.1:{port}") or "")
    assert "Ray Client" in (refusal("ray://127.0.0.1:10001") or "")
    assert refusal("auto") is None


def test_a_failed_join_says_what_to_look_at() -> None:
    told = str(cannot_join("10.0.0.1:6379", ConnectionError("refused.\nmore")))
    for part in ("10.0.0.1:6379", "ConnectionError: refused. Look", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        assert part in told


def test_a_token_is_for_its_owner_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environment.protect_token()  # there is none
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    environment.protect_token()
    assert token.stat().st_mode & 0o777 == 0o600


def test_processes_that_stay_are_ended(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "x")]) as child:
        other = environment.processes_of(tmp_path / "other")
        found = environment.processes_of(tmp_path)
        assert other == []
        assert found == [psutil.Process(child.pid)]
        environment.end(found, grace_s=0.1)
        assert not psutil.pid_exists(child.pid)
        child.wait(30)
