"""The LSTM layer with its own backward pass: a step by hand, torch's own layer, gradients."""

from __future__ import annotations

from math import exp, tanh

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.testing import assert_close

from algorithms.models.lstm_layer import lstm_layer


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def test_two_steps_by_hand() -> None:
    gates = torch.tensor([[[0.5, 1.0, -0.3, 0.2]], [[0.1, -1.0, 0.7, 0.4]]])
    h, c = lstm_layer(gates, torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    c1 = sigmoid(0.5) * tanh(-0.3)
    h1 = sigmoid(0.2) * tanh(c1)
    c2 = sigmoid(-1.0 + 2 * h1) * c1 + sigmoid(0.1 + h1) * tanh(0.7 + 3 * h1)
    h2 = sigmoid(0.4 + 4 * h1) * tanh(c2)
    assert_close(c.flatten(), torch.tensor([c1, c2]))
    assert_close(h.flatten(), torch.tensor([h1, h2]))


@pytest.mark.parametrize("T", [1, 2, 7])
def test_agrees_with_torch(T: int) -> None:
    torch.manual_seed(T)
    theirs = nn.LSTM(3, 5, bias=False).double()
    x = torch.randn(T, 4, 3, dtype=torch.float64)
    recurrent = theirs.weight_hh_l0.detach().t().clone().requires_grad_()
    mine, _ = lstm_layer(x @ theirs.weight_ih_l0.t(), recurrent)
    want, _ = theirs(x)
    assert_close(mine, want)
    g = torch.randn_like(want)
    got = torch.autograd.grad((mine * g).sum(), (theirs.weight_ih_l0, recurrent))
    wanted = torch.autograd.grad((want * g).sum(), (theirs.weight_ih_l0, theirs.weight_hh_l0))
    assert_close(got[0], wanted[0])
    assert_close(got[1], wanted[1].t())


@pytest.mark.parametrize("T", [1, 4])
def test_gradients(T: int) -> None:
    torch.manual_seed(0)
    gates = torch.randn(T, 3, 8, dtype=torch.float64, requires_grad=True)
    recurrent = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda *given: lstm_layer(*given)[0], (gates, recurrent))


@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize("told", ["h", "c", "both"])
def test_gradients_of_the_first_state_and_of_c(T: int, told: str) -> None:
    torch.manual_seed(0)
    gates, recurrent, h, c = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((T, 3, 8), (2, 8), (3, 2), (3, 2))
    )

    def chosen(*given: torch.Tensor) -> torch.Tensor:
        hs, cs = lstm_layer(*given)
        return {"h": hs, "c": cs, "both": hs * cs.cos()}[told]

    assert gradcheck(chosen, (gates, recurrent, h, c))


def test_goes_on_from_a_first_state_as_if_it_had_never_stopped() -> None:
    torch.manual_seed(1)
    gates, recurrent = torch.randn(5, 3, 8), torch.randn(2, 8)
    hs, cs = lstm_layer(gates, recurrent)
    rest, rest_c = lstm_layer(gates[2:], recurrent, hs[1], cs[1])
    assert torch.equal(rest, hs[2:])
    assert torch.equal(rest_c, cs[2:])
