"""The Frechet distance: normal distributions whose distance is known."""

from __future__ import annotations

import pytest
import torch

from orchestrator.metrics.frechet import frechet_distance


def test_by_hand_in_one_dimension():
    # means 1 and 4, variances 2 and 8: 9 + 2 + 8 - 2 sqrt(16)
    a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[2.0], [6.0]])
    assert frechet_distance(a.double(), b.double()) == pytest.approx(9 + 2 + 8 - 8, abs=1e-9)


def test_of_diagonal_covariances_it_is_the_sum():
    a = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0]]).double()
    b = 2 * a + 1
    # covariances diag(2, 18) / 3 and four times that; each axis (s1 - s2)^2 = v
    assert frechet_distance(a, b) == pytest.approx(1 + 1 + 2 / 3 + 18 / 3, abs=1e-9)


def test_range_symmetry_order_and_rotation():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(40, 5, generator=generator, dtype=torch.float64) * (1 + i) for i in range(2))
    distance = frechet_distance(a, b)
    assert distance > 0
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(a.flip(0), b) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    q, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64))
    assert frechet_distance(a @ q, b @ q) == pytest.approx(distance, rel=1e-9)


def test_equal_vectors_have_no_spread():
    a, b = torch.zeros(3, 2).double(), torch.ones(3, 2).double()
    assert frechet_distance(a, b) == pytest.approx(2)
    with pytest.raises(ValueError, match="at least 2 sentences, got 1 and 3"):
        frechet_distance(a[:1], b)
