"""The control margin, by hand."""

from __future__ import annotations

import pytest

from orchestrator.margin import control_margin


def point(test: float, oracle: float) -> dict[str, float]:
    return {"eval/nll_test": test, "eval/nll_oracle": oracle}


def test_by_hand():
    curves = {"constant": [point(9.0, 9.0), point(9.2, 8.8)], "colder": [point(9.0, 9.0), point(9.4, 8.2)]}
    # at NLL_test 9.1 the controls stand at 8.9 and 8.8: the better one counts
    assert control_margin(point(9.1, 8.7), curves) == pytest.approx(0.1)
    assert control_margin(point(9.1, 8.9), curves) == pytest.approx(-0.1)


def test_a_curve_that_does_not_reach_the_point_says_nothing():
    assert control_margin(point(9.5, 8.0), {"constant": [point(9.0, 9.0), point(9.2, 8.8)]}) is None
    assert control_margin(point(9.1, 8.0), {}) is None


def test_a_curve_that_turns_back_counts_at_its_lowest():
    turning = [point(9.0, 9.0), point(9.2, 8.8), point(9.0, 8.6)]
    assert control_margin(point(9.1, 8.0), {"turning": turning}) == pytest.approx(0.7)


def test_without_an_oracle_nll_test_stands_against_self_bleu():
    curves = {
        "colder": [
            {"eval/self_bleu_4": 0.2, "eval/nll_test": 3.0},
            {"eval/self_bleu_4": 0.4, "eval/nll_test": 4.0},
        ]
    }
    assert control_margin({"eval/self_bleu_4": 0.3, "eval/nll_test": 3.2}, curves) == pytest.approx(0.3)
    assert control_margin({"eval/nll_test": 3.2}, curves) is None
