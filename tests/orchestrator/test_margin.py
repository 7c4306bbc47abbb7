"""The control margin, by hand."""

from __future__ import annotations

import pytest

from orchestrator.margin import control_margin, plane


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


@pytest.mark.parametrize("breadth", ["eval/nll_test", "eval/self_bleu_4"])
def test_without_an_oracle_quality_is_the_lm_score_and_without_a_likelihood_breadth_is_self_bleu(
    breadth: str,
):
    curves = {"colder": [{breadth: 0.2, "eval/lm_score": 4.0}, {breadth: 0.4, "eval/lm_score": 3.0}]}
    assert control_margin({breadth: 0.3, "eval/lm_score": 3.2}, curves) == pytest.approx(0.3)
    assert control_margin({"eval/lm_score": 3.2}, curves) is None
    assert control_margin({breadth: 0.3}, curves) is None


def test_the_first_pair_that_is_defined_counts():
    everything = {"eval/nll_test": 1.0, "eval/nll_oracle": 2.0, "eval/lm_score": 3.0, "eval/self_bleu_4": 0.1}
    assert plane(everything) == ("eval/nll_test", "eval/nll_oracle")
    assert plane(everything | {"eval/nll_oracle": float("nan")}) == ("eval/nll_test", "eval/lm_score")
    assert plane({"eval/lm_score": 3.0}) is None
