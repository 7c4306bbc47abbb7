"""Ranks by hand."""

from __future__ import annotations

import math

import pytest
import torch

from orchestrator.ranking import area_under_curve, rank_correlation


def test_rank_correlation():
    x = torch.tensor([0.1, 5.0, 2.0, 3.0])
    assert rank_correlation(x, x.exp()) == pytest.approx(1.0)
    assert rank_correlation(x, -x) == pytest.approx(-1.0)
    # ranks 1 4 2 3 and 1 3 4 2: 1 - 6 (0 + 1 + 4 + 1) / (4 * 15)
    assert rank_correlation(x, torch.tensor([0.0, 2.0, 7.0, 1.0])) == pytest.approx(0.4)
    assert math.isnan(rank_correlation(x, torch.ones(4)))


def test_equal_values_share_a_rank():
    # 1.5 1.5 3 against 1 2 3
    assert rank_correlation(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 3.0])) == pytest.approx(
        1.5 / math.sqrt(1.5 * 2)
    )


def test_area_under_the_curve():
    assert area_under_curve(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0, 0.0])) == 1.0
    assert area_under_curve(torch.tensor([1.0]), torch.tensor([0.0, 1.0, 2.0, 3.0])) == 1.5 / 4
    same = torch.tensor([2.0, 2.0])
    assert area_under_curve(same, same) == 0.5
