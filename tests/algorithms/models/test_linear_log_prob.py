"""Log-probabilities of a linear softmax in pieces: by hand, beside torch's, with gradients, for any size."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from algorithms.models import linear_log_prob as module
from algorithms.models.linear_log_prob import linear_log_prob


def test_by_hand() -> None:
    # logits 0, log 2, log 5: probabilities 1/8, 2/8, 5/8
    h, weight = torch.tensor([[1.0]]), torch.tensor([[0.0, log(2), log(5)]], requires_grad=True)
    bias = torch.zeros(3, requires_grad=True)
    log_p = linear_log_prob(h, weight, bias, torch.tensor([1]), None)
    assert_close(log_p, torch.tensor([log(2 / 8)]))
    dweight, dbias = torch.autograd.grad(log_p.sum(), (weight, bias))
    assert_close(dbias, torch.tensor([-1 / 8, 1 - 2 / 8, -5 / 8]))
    assert_close(dweight, dbias[None])
    banned = torch.tensor([True, False, False])
    assert_close(linear_log_prob(h, weight, bias, torch.tensor([1]), banned), torch.tensor([log(2 / 7)]))


@pytest.mark.parametrize(("R", "V"), [(0, 7), (1, 7), (700, 3), (1300, 5000), (40, 600_000)])
def test_agrees_with_cross_entropy(R: int, V: int) -> None:
    torch.manual_seed(V)
    h, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((R, 4), (4, V), (V,)))
    tokens, g = torch.randint(V, (R,)), torch.randn(R)
    got = linear_log_prob(h, weight, bias, tokens, None)
    want = -torch.nn.functional.cross_entropy(torch.addmm(bias, h, weight), tokens, reduction="none")
    assert_close(got, want, atol=1e-4, rtol=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad((got * g).sum(), (h, weight, bias)),
        torch.autograd.grad((want * g).sum(), (h, weight, bias)),
        strict=True,
    ):
        assert_close(mine, theirs, atol=1e-3, rtol=1e-4)
    with torch.inference_mode():
        assert linear_log_prob(h, weight, bias, tokens, None).equal(got)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_logits_of_any_size(scale: float) -> None:
    torch.manual_seed(1)
    h, weight, bias = torch.randn(50, 4), scale * torch.randn(4, 40), torch.randn(40)
    tokens, banned = torch.randint(39, (50,)), torch.arange(40) == 39
    got = linear_log_prob(h, weight, bias, tokens, banned)
    logits = torch.addmm(bias, h, weight).masked_fill(banned, -torch.inf).double()
    want = logits.log_softmax(1).gather(1, tokens[:, None]).squeeze(1)
    assert_close(got.double(), want, atol=1e-5, rtol=1e-4)


def test_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(module, "LOGITS_IN_CACHE", 16 * 5)  # three pieces
    h, weight, bias = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((40, 2), (2, 5), (5,))
    )
    tokens, banned = torch.arange(40) % 4, torch.tensor([False] * 4 + [True])
    assert gradcheck(lambda *given: linear_log_prob(*given, tokens, banned), (h, weight, bias))


def test_twice_backwards_is_the_same() -> None:
    torch.manual_seed(0)
    h, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((40, 2), (2, 5), (5,)))
    log_p = linear_log_prob(h, weight, bias, torch.arange(40) % 5, None)
    first = torch.autograd.grad(log_p.sum(), weight, retain_graph=True)[0]
    assert torch.autograd.grad(log_p.sum(), weight)[0].equal(first)
