"""The inverse of the cumulative distribution: right tokens, right frequencies, never an impossible one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from algorithms.sampling import BLOCK, draw, log_prob_of, running_sum_in_fixed_order, weigh


def test_by_hand():
    p = torch.tensor([[0.1, 0.2, 0.0, 0.7]])
    for u, token in [(0.0, 0), (0.09, 0), (0.11, 1), (0.29, 1), (0.31, 3), (0.999999, 3)]:
        assert draw(weigh(p.log()), torch.tensor([u], dtype=torch.float64))[0].tolist() == [token]


@pytest.mark.parametrize("V", [2, 63, 64, 65, 500])
def test_agrees_with_a_plain_search_in_float64(V):
    rng = torch.Generator().manual_seed(V)
    logits = torch.randn(2000, V, generator=rng, dtype=torch.float64) * 3
    u = torch.rand(2000, generator=rng, dtype=torch.float64)
    plain = torch.searchsorted(logits.softmax(1).cumsum(1), u[:, None], right=True).squeeze(1)
    assert torch.equal(draw(weigh(logits), u)[0], plain)


def test_frequencies():
    p = torch.tensor([0.5, 0.25, 0.125, 0.125])
    u = (torch.arange(8000) + 0.5) / 8000  # an even grid: the counts are exact
    tokens = draw(weigh(p.log().expand(8000, 4).clone()), u.double())[0]
    assert torch.bincount(tokens, minlength=4).tolist() == [4000, 2000, 1000, 1000]


@given(st.integers(1, 3 * BLOCK), st.integers(0, 2**31), st.floats(0, 1, exclude_max=True))
def test_an_impossible_symbol_is_never_drawn(V, seed, u):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, V, generator=rng) * 10
    banned = torch.rand(V, generator=rng) < 0.7
    banned[int(torch.randint(V, (1,), generator=rng))] = False
    logits[:, banned] = -torch.inf
    for number in (u, 1 - 2**-53):
        token, _ = draw(weigh(logits), torch.tensor([number], dtype=torch.float64))
        assert 0 <= token.item() < V
        assert not banned[token].item()


def test_log_prob():
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    expected = 1.0 - torch.tensor([0.0, 1.0, 2.0]).exp().sum().log()
    torch.testing.assert_close(log_prob_of(logits, torch.tensor([1])), expected[None])


@pytest.mark.parametrize("V", [1, 3, 64, 5000])
@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_the_log_probability_of_what_is_drawn(V, scale):
    rng = torch.Generator().manual_seed(V)
    logits = torch.randn(100, V, generator=rng) * scale
    tokens, log_prob = draw(weigh(logits), torch.rand(100, generator=rng, dtype=torch.float64))
    want = logits.double().log_softmax(1).gather(1, tokens[:, None]).squeeze(1)
    torch.testing.assert_close(log_prob.double(), want, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_logits_of_any_size(shift):
    logits = torch.tensor([[0.0, 1.0, 2.0]]) + shift
    drawn = [draw(weigh(logits), torch.tensor([u], dtype=torch.float64))[0].item() for u in (0.05, 0.3, 0.9)]
    assert drawn == [0, 1, 2]  # the probabilities are .09, .24, .67


def test_running_sums_in_a_fixed_order():
    x = torch.rand(50, 101, generator=torch.Generator().manual_seed(0)) ** 20  # of very different sizes
    sums = running_sum_in_fixed_order(x)
    torch.testing.assert_close(sums, x.double().cumsum(1))
    assert (sums.diff(dim=1) >= 0).all()
    assert running_sum_in_fixed_order(x[:, :1]).equal(x[:, :1].double())
