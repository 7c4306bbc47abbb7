"""How a call ends, with answers that come from plain functions."""

from __future__ import annotations

import copy
import time
from types import SimpleNamespace
from typing import Any

import pytest

from workers.calls import ActorHung, ActorLost, NotYet, Pending, Stub, reason_of, told


def after(polls: int, answer: Any) -> Any:
    """A fetch whose answer is there after so many polls."""
    left = [polls]

    def fetch(reference: Any, seconds: float, role: str) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            time.sleep(min(seconds, 0.01))
            raise NotYet
        if isinstance(answer, Exception):
            raise answer
        return answer

    return fetch


def pending(fetch: Any, deadline_s: float | None = None) -> Pending:
    return Pending("reference", "learner", "advance", deadline_s, fetch)


def test_a_result_is_waited_for_and_kept() -> None:
    call = pending(after(3, 7))
    assert not call.done()
    assert call.result() == 7
    assert call.done()
    assert call.result() == 7


def test_what_was_raised_is_raised_each_time_it_is_asked_for() -> None:
    call = pending(after(1, KeyError("x")))
    for _ in range(2):
        with pytest.raises(KeyError, match="x"):
            call.result()


def test_a_deadline_names_who_and_what() -> None:
    call = pending(after(10**9, None), deadline_s=0.05)
    with pytest.raises(ActorHung, match="the learner has not ended `advance` after 0 s") as caught:
        call.result()
    assert (caught.value.role, caught.value.method, caught.value.waited_s) == ("learner", "advance", 0.05)
    assert call.done()


def test_a_start_that_hangs_names_the_setting() -> None:
    told = str(ActorHung("learner", "__init__", 60.0))
    assert told.startswith("the learner has not ended `__init__` after 60 s: ")
    assert "raise cluster.patience_s" in told
    assert "cluster.patience_s" not in str(ActorHung("learner", "advance", 60.0))


def test_an_answer_that_is_there_counts_after_the_deadline_too() -> None:
    call = pending(after(0, 7), deadline_s=0.0)
    assert call.result() == 7


def test_a_stub_calls_the_methods_of_its_actor() -> None:
    actor = SimpleNamespace(add=SimpleNamespace(remote=lambda a, b=0: a + b))
    stub = Stub(actor, "learner", None, lambda reference, seconds, role: (reference, role))
    assert stub.add(2, b=3) == (5, "learner")
    assert stub.later("add", 1).result() == (1, "learner")
    with pytest.raises(AttributeError, match="subtract"):
        _ = stub.subtract
    assert copy.copy(stub).add(1) == (1, "learner")


def test_a_constructor_that_raises_is_told_by_a_method() -> None:
    class Picky:
        def __init__(self, number: int) -> None:
            self.number = 10 // number

    fine = told(Picky, lambda held: (held,), lambda: False)(5)
    assert fine.number == 2
    assert fine.tell_failure() is None
    assert type(fine).__name__ == "Picky"
    failed = told(Picky, lambda held: (held,), lambda: False)(0)
    with pytest.raises(ZeroDivisionError):
        failed.tell_failure()
    with pytest.raises(ZeroDivisionError):  # nobody would ask the restarted one
        told(Picky, lambda held: (held,), lambda: True)(0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "It died.\n\tpid: 7\nIts node has died.\n\nIt was lost. Some common causes include: (1) ...",
            "Its node has died. It was lost.",
        ),
        (
            "The actor 01ab is unavailable: The actor is restarting. The task may or may not have been run.",
            "The actor is restarting.",
        ),
        ("\x1b[36mgone\x1b[39m", "gone"),
        ("", "RuntimeError"),
    ],
)
def test_a_reason_is_one_line(text: str, reason: str) -> None:
    assert reason_of(RuntimeError(text)) == reason


def test_losses_survive_being_sent_between_processes() -> None:
    for failure in (ActorLost("learner", "gone"), ActorHung("learner", "advance", 3.0)):
        again = copy.copy(failure)  # by the same protocol as a pickle
        assert str(again) == str(failure)
        assert vars(again) == vars(failure)
