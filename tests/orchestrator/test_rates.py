"""A learning rate over a stage."""

from __future__ import annotations

import pytest

from orchestrator.rates import falling


def test_a_falling_rate_is_constant_and_then_half_a_cosine():
    rates = [falling(2.0, 0.5, 8, number) / 2 for number in range(8)]
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert {falling(0.01, 0.0, 120, number) for number in range(120)} == {0.01}
