"""Where rollouts are made."""

from __future__ import annotations

import pytest

from orchestrator.actors import break_even


@pytest.mark.parametrize(
    ("workers", "theirs", "own", "enough"),
    [(2, 0.5, 1.0, 1), (2, 1.0, 1.0, 2), (2, 0.6, 1.0, 2), (4, 1.0, 0.01, 400), (3, 0.001, 1.0, 1)],
)
def test_so_many_workers_are_as_fast_as_the_learner(workers: int, theirs: float, own: float, enough: int):
    assert break_even(workers, {"workers": theirs, "learner": own}) == enough
