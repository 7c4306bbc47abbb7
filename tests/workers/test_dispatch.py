"""Which unit goes where, and when one is given up."""

from __future__ import annotations

import pytest

from workers.dispatch import Limits, Units
from workers.failures import MachinesFailed, UnitFailed, UnitLost
from workers.rollout import Block

LIMITS = Limits(data_tries=2, unit_tries=3)


def units(count: int = 3) -> Units:
    return Units([Block(4 * n, 4) for n in range(count)], (1, "place"), LIMITS)


def test_units_are_taken_in_order_and_once():
    book = units()
    assert [book.take(0, [0]) for _ in range(4)] == [0, 1, 2, None]
    book.again(1)
    assert book.take(0, [0]) == 1
    assert book.retries == 1


def test_what_raised_goes_to_another_worker_while_there_is_one():
    book = units(2)
    assert book.take(0, [0, 1]) == 0
    book.raised(0, 0, "")
    assert book.take(0, [0, 1]) == 1
    assert book.take(0, [0, 1]) is None
    assert book.take(1, [0, 1]) == 0
    alone = units(1)
    alone.take(0, [0])
    alone.raised(0, 0, "")
    assert alone.take(0, [0]) == 0


def test_two_exceptions_name_the_unit_and_the_workers():
    book = units()
    book.raised(1, 0, "first")
    with pytest.raises(
        UnitFailed, match=r"unit 2 of 3 \(path \(1, 'place'\), first 4, count 4\).*workers 0, 3"
    ) as e:
        book.raised(1, 3, "Traceback: second")
    assert str(e.value).endswith("Traceback: second")


def test_a_unit_that_hangs_twice_is_given_up_and_the_machines_blamed():
    book = units()
    book.hung(2, 5.0)
    told = r"unit 3 of 3.*not finished 2 times.*resume with .*rollout\.unit_deadline_s"
    with pytest.raises(UnitLost, match=told) as caught:
        book.hung(2, 5.0)
    assert isinstance(caught.value, MachinesFailed)
    assert not isinstance(caught.value, UnitFailed)


def test_losses_are_forgiven_until_they_cannot_be_chance():
    book = units()
    book.lost(0, 7, "killed")
    book.lost(1, 7, "killed")
    book.lost(0, 7, "killed")
    with pytest.raises(
        UnitLost, match=r"unit 1 of 3.*lost 3 times, last: out of memory.*rollout\.unit"
    ) as caught:
        book.lost(0, 7, "out of memory")
    assert isinstance(caught.value, MachinesFailed)
    assert book.retries == 3
