"""The follower, with a store that fails as told: each thing arrives once and in order, or is reported."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.follower import Follower, RefusedError, Value
from orchestrator.journal import Journal
from orchestrator.outbox import Operation, Outbox


class Shelf:
    """A store in memory."""

    def __init__(self, failures: int = 0, artifacts_down: bool = False) -> None:
        self.failures, self.artifacts_down = failures, artifacts_down
        self.values: list[tuple[str, int, float]] = []
        self.operations: list[Operation] = []
        self.status = ""

    def send_values(self, values: Sequence[Value]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("gone")
        self.values += [(value.name, value.step, value.value) for value in values]

    def send(self, operation: Operation) -> None:
        if operation.is_artifact and self.artifacts_down:
            raise ConnectionError("the artifact store is down")
        if operation.arguments.get("refuse"):
            raise RefusedError("never")
        self.operations.append(operation)

    def end(self, status: str) -> None:
        self.status = status


def test_a_failed_call_is_made_again_and_nothing_comes_twice(tmp_path: Path) -> None:
    journal, shelf = Journal(tmp_path / "metrics.jsonl"), Shelf(failures=2)
    for step in range(700):
        journal.append(step, "adversarial", {"a": 1.0, "b": float("nan") if step == 3 else 2.0})
    follower = Follower(shelf, journal, Outbox(tmp_path), {"a": 9})
    journal.append(699, "adversarial", {"a": 5.0})
    assert follower.close("FINISHED", timeout=20)
    assert [step for name, step, _ in shelf.values if name == "a"] == list(range(10, 700))
    assert [step for name, step, _ in shelf.values if name == "b"] == [s for s in range(700) if s != 3]
    assert follower.non_finite == 1
    assert shelf.status == "FINISHED"
    assert shelf.operations[-1].arguments == {"non_finite_values": "1"}


def test_artifacts_that_are_stuck_hold_up_nothing_else(tmp_path: Path) -> None:
    journal, shelf, outbox = Journal(tmp_path / "metrics.jsonl"), Shelf(artifacts_down=True), Outbox(tmp_path)
    text = Operation("text", {"text": "x", "artifact_path": "x.txt"})
    refused = Operation("tags", {"refuse": "yes"})
    tags = Operation("tags", {"a": "b"})
    for operation in (text, refused, tags):
        outbox.put(operation)
    journal.append(0, "adversarial", {"a": 1.0})
    follower = Follower(shelf, journal, outbox, {})
    assert not follower.close("KILLED", timeout=1.5)
    assert shelf.values == [("a", 0, 1.0)]
    assert shelf.operations == [tags]
    assert (shelf.status, follower.refused) == ("KILLED", ["never"])
    assert follower.error == "the artifact store is down"
    assert outbox.pending() == [text]
    kept = Outbox(tmp_path).pending()  # the file forgets nothing before all of it has arrived
    assert [(o.kind, o.arguments) for o in kept] == [(o.kind, o.arguments) for o in (text, refused, tags)]


def test_a_store_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    class Hanging(Shelf):
        def send_values(self, values: Sequence[Value]) -> None:
            time.sleep(1.5)

    journal = Journal(tmp_path / "metrics.jsonl")
    journal.append(0, "adversarial", {"a": 1.0})
    follower = Follower(Hanging(), journal, Outbox(tmp_path), {})
    start = time.monotonic()
    assert not follower.close("FINISHED", timeout=0.2)
    assert time.monotonic() - start < 1


def test_a_journal_that_is_cut_back_and_grows_again(tmp_path: Path) -> None:
    journal, shelf = Journal(tmp_path / "metrics.jsonl"), Shelf()
    for step in range(4):
        journal.append(step, "adversarial", {"a": float(step)})
    follower = Follower(shelf, journal, Outbox(tmp_path), {})
    deadline = time.monotonic() + 5
    while len(shelf.values) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    journal.truncate(next(journal.read()).end)
    journal.append(1, "adversarial", {"a": 1.0})
    journal.append(9, "adversarial", {"b": 9.0})
    assert follower.close("FINISHED", timeout=5)
    assert shelf.values == [("a", step, float(step)) for step in range(4)] + [("b", 9, 9.0)]


def test_a_journal_that_is_cut_back_and_longer_again_before_anyone_looks(tmp_path: Path) -> None:
    journal, shelf = Journal(tmp_path / "metrics.jsonl"), Shelf()
    for step in range(10):
        journal.append(step, "adversarial", {"a": 1.0})
    follower = Follower(shelf, journal, Outbox(tmp_path), {})
    deadline = time.monotonic() + 20
    while len(shelf.values) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    journal.truncate(next(journal.read()).end)
    for step in range(1, 20):  # lines of other lengths: where it stopped is now inside one of them
        journal.append(step, "adversarial", {"a": 1.0 / (step + 3)})
    follower.rewind()
    assert follower.close("FINISHED", timeout=20)
    assert [step for _, step, _ in shelf.values] == list(range(20))
