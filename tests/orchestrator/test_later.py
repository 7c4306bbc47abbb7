"""Evaluations under way elsewhere: asked for once their checkpoint is there, taken in in order."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator import later
from orchestrator.checkpoints import DamagedCheckpoint
from orchestrator.later import LaterEvaluations
from orchestrator.measure import Measured
from workers.calls import ActorLost


def measured(step: int) -> Measured:
    return Measured({"eval/unique_rate": float(step)}, (), ())


def test_nothing_is_asked_before_its_checkpoint_is_there():
    asked: list[int] = []

    def later(folder: Path, step: int) -> Future[Measured]:
        asked.append(step)
        future: Future[Measured] = Future()
        future.set_result(measured(step))
        return future

    evaluations = LaterEvaluations(Path("checkpoints"), later, print)
    evaluations.expect(3, "adversarial")
    assert evaluations.waiting == (3,)
    assert asked == []
    assert list(evaluations.take(0)) == []
    evaluations.ask()
    evaluations.ask()
    assert asked == [3]
    assert list(evaluations.take()) == [(3, "adversarial", measured(3))]
    assert evaluations.waiting == ()


def test_results_are_taken_in_the_order_of_steps():
    futures: dict[int, Future[Measured]] = {1: Future(), 2: Future()}
    evaluations = LaterEvaluations(Path("checkpoints"), lambda _, step: futures[step], print)
    for step in (1, 2):
        evaluations.expect(step, "adversarial")
    evaluations.ask()
    futures[2].set_result(measured(2))
    assert list(evaluations.take()) == []  # the second has come in, the first has not
    futures[1].set_result(measured(1))
    assert [step for step, _, _ in evaluations.take()] == [1, 2]


def test_waiting_ends_when_few_enough_are_under_way():
    gate = threading.Event()
    with ThreadPoolExecutor(1) as executor:

        def evaluate(step: int) -> Measured:
            if step > 1:
                assert gate.wait(60)
            return measured(step)

        evaluations = LaterEvaluations(Path("c"), lambda _, step: executor.submit(evaluate, step), print)
        for step in (1, 2, 3):
            evaluations.expect(step, "adversarial")
        evaluations.ask()
        assert [step for step, _, _ in evaluations.take(2)] == [1]
        assert evaluations.waiting == (2, 3)
        gate.set()
        assert [step for step, _, _ in evaluations.take(0)] == [2, 3]


def test_what_went_wrong_is_raised():
    broken: Future[Measured] = Future()
    broken.set_exception(ValueError("the disk is gone"))
    evaluations = LaterEvaluations(Path("c"), lambda *_: broken, print)
    evaluations.expect(1, "adversarial")
    evaluations.ask()
    with pytest.raises(ValueError, match="the disk is gone"):
        list(evaluations.take(0))


def test_an_evaluator_that_dies_is_asked_again_and_one_that_always_dies_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(later, "PAUSE_S", 0.01)
    lost: Future[Measured] = Future()
    lost.set_exception(ActorLost("evaluator", "killed"))
    fine: Future[Measured] = Future()
    fine.set_result(measured(4))
    answers, warnings = [lost, fine], []
    evaluations = LaterEvaluations(Path("c"), lambda *_: answers.pop(0), warnings.append)
    evaluations.expect(4, "adversarial")
    evaluations.ask()
    assert [step for step, _, _ in evaluations.take(0)] == [4]
    assert "asked for again" in warnings[0]
    always = LaterEvaluations(Path("c"), lambda *_: lost, warnings.append)
    always.expect(5, "adversarial")
    always.ask()
    with pytest.raises(ActorLost, match="killed"):
        list(always.take(0))


def test_a_damaged_checkpoint_is_not_evaluated_and_the_next_one_is():
    damaged: Future[Measured] = Future()
    damaged.set_exception(DamagedCheckpoint("tensors.safetensors: torn"))
    fine: Future[Measured] = Future()
    fine.set_result(measured(2))
    futures, warnings = {1: damaged, 2: fine}, []
    evaluations = LaterEvaluations(Path("c"), lambda _, step: futures[step], warnings.append)
    for step in (1, 2):
        evaluations.expect(step, "adversarial")
    evaluations.ask()
    assert [step for step, _, _ in evaluations.take(0)] == [2]
    assert "torn" in warnings[0]
