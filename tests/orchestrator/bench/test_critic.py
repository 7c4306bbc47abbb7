"""Forms of a critic's step: they compute the same, and each has its row."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from orchestrator.bench.critic import ChannelsLast, Product, compare_critics


@pytest.mark.parametrize("form", [ChannelsLast, Product])
def test_a_form_is_the_same_convolution_down_to_the_gradient_of_its_gradient(form: type[nn.Conv1d]):
    torch.manual_seed(0)
    plain = nn.Conv1d(3, 4, 5, padding="same").double()
    other = nn.Conv1d(3, 4, 5, padding="same").double()
    other.load_state_dict(plain.state_dict())
    other.__class__ = form
    x = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    found = []
    for net in (plain, other):
        y = net(x).square().sum()
        (slope,) = torch.autograd.grad(y, x, create_graph=True)
        found.append((y, slope, *torch.autograd.grad(slope.square().sum(), list(net.parameters()))))
    for one, same in zip(*found, strict=True):
        assert_close(one, same)


def test_rows():
    rows = compare_critics(torch.device("cpu"), fast_bf16=False, quick=True)
    named = {row.critic: row for row in rows}
    assert len(named) == len(rows) == 7
    assert named["wgan_gp"].ratio == 1
    timed = [row for row in rows if row.seconds is not None]
    assert [row.critic for row in timed] == [row.critic for row in rows[:5]]
    assert all(row.ratio > 0 for row in timed)
    assert "gradient of a gradient" in named["wgan_gp, compiled"].note
    assert "bfloat16" in named["wgan_gp, bfloat16"].note
