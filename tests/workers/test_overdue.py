"""What takes longer than it may is written down, with the place where it is."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from toys.processes import eventually
from workers.overdue import Overdue


def a_long_wait(gate: threading.Event) -> None:
    assert gate.wait(20)


def test_the_place_is_written_down_once(tmp_path: Path):
    gate = threading.Event()
    watched = Overdue(tmp_path / "stacks", "rollout worker", gate.set)
    with watched.after(0.05):
        a_long_wait(gate)
    (file,) = (tmp_path / "stacks").iterdir()
    assert file.name.startswith("rollout_worker-")
    assert "a_long_wait" in file.read_text()
    gate.clear()
    with watched.after(0.05):
        a_long_wait(gate)
    assert len(list((tmp_path / "stacks").iterdir())) == 2


def test_what_is_in_time_leaves_nothing(tmp_path: Path):
    late = threading.Event()
    watched = Overdue(tmp_path / "stacks", "learner", late.set)
    for _ in range(100):
        with watched.after(5.0):
            """It is done at once."""
    watched.expect(0.2)
    watched.expect(30.0)  # more time is given
    assert not late.wait(0.5)
    assert not (tmp_path / "stacks").exists()


def test_the_thread_ends_when_nothing_is_watched_any_more(tmp_path: Path):
    watched = Overdue(tmp_path / "stacks", "learner")
    (thread,) = [one for one in threading.enumerate() if one.name == "overdue" and one.is_alive()][-1:]
    watched.expect(0.2)
    watched.close()
    thread.join(10)
    assert not thread.is_alive()
    assert not (tmp_path / "stacks").exists()


def test_the_thread_that_is_watched_comes_first_however_many_there_are(tmp_path: Path):
    gate, done = threading.Event(), threading.Event()
    others = [threading.Thread(target=done.wait) for _ in range(150)]  # faulthandler writes a hundred
    for other in others:
        other.start()
    try:
        with Overdue(tmp_path / "stacks", "learner", gate.set).after(0.05):
            a_long_wait(gate)
    finally:
        done.set()
    (file,) = (tmp_path / "stacks").iterdir()
    assert "a_long_wait" in file.read_text().partition("all threads:")[0]


def test_a_folder_that_cannot_be_made_is_no_reason_to_fail(tmp_path: Path):
    (tmp_path / "file").touch()
    done: list[float] = []
    for folder in (tmp_path / "file" / "stacks", None):
        with Overdue(folder, "learner", lambda: done.append(time.monotonic())).after(0.01):
            assert eventually(lambda: len(done) > 0, 10)
        done.clear()
