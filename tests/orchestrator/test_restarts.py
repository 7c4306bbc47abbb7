"""A budget of restarts that progress fills again."""

from __future__ import annotations

from orchestrator.restarts import Restarts


def test_a_place_that_is_never_passed_is_given_up():
    restarts = Restarts(2)
    restarts.reached(1)
    assert [restarts.another() for _ in range(3)] == [True, True, False]
    restarts.reached(1)  # the way back to it is no progress
    assert not restarts.another()
    restarts.reached(2)
    assert restarts.another()
    assert restarts.total == 3


def test_none_are_left_where_none_are_wanted():
    assert not Restarts(0).another()
