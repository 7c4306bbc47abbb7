"""How often something is done, and what it holds meanwhile."""

from __future__ import annotations

import time

import torch

from orchestrator.bench.timing import in_turn, peak_bytes, repeated, seconds

CPU = torch.device("cpu")


def test_preparation_does_not_count():
    assert seconds(lambda: None, CPU, lambda: time.sleep(0.05)) < 0.04
    assert seconds(lambda: time.sleep(0.05), CPU) >= 0.05


def test_the_first_time_does_not_count_and_the_budget_ends_it():
    done: list[int] = []
    assert len(repeated(lambda: done.append(0), CPU, at_least=2, at_most=4)) == 4
    assert len(done) == 5
    assert len(repeated(lambda: done.append(0), CPU, at_least=2, budget_s=0.0)) == 2


def test_two_are_timed_in_turn():
    order: list[str] = []
    times, others = in_turn(lambda: order.append("a"), lambda: order.append("b"), CPU)
    assert len(times) == len(others) == 15
    assert "".join(order) == "ba" * 16


def test_the_peak_is_what_is_held_at_a_time(capfd):
    def hold() -> None:
        first = torch.empty(1024)
        second = torch.empty(2048)
        del first, second
        torch.empty(1024)

    hold()
    assert peak_bytes(hold, CPU) == 3 * 4096
    assert capfd.readouterr() == ("", "")
