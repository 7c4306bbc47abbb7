"""The greatest response over windows: by hand, beside torch's own convolution, and its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import conv1d
from torch.testing import assert_close

from algorithms.models.window_maxima import window_maxima


def plain(x: Tensor, kernels: list[Tensor], starts: Tensor | None) -> Tensor:
    found = []
    for kernel in kernels:
        responses = conv1d(x.transpose(1, 2), kernel)
        if starts is not None:
            responses = responses.masked_fill(~starts[:, None, : responses.shape[2]], -torch.inf)
        found.append(responses.amax(2))
    return torch.cat(found, 1)


def test_by_hand() -> None:
    # x = 1, -2, 3; W = (1, 1) and (2, -1): windows say -1, 1 and 4, -7
    x = torch.tensor([[[1.0], [-2.0], [3.0]]], requires_grad=True)
    kernel = torch.tensor([[[1.0, 1.0]], [[2.0, -1.0]]], requires_grad=True)
    c = window_maxima(x, [kernel])
    assert c.tolist() == [[1.0, 4.0]]
    dx, dkernel = torch.autograd.grad((c * torch.tensor([1.0, 10.0])).sum(), (x, kernel))
    # filter 0 was won by the second window, filter 1 by the first
    assert dx.flatten().tolist() == [20.0, 1.0 - 10.0, 1.0]
    assert dkernel.tolist() == [[[-2.0, 3.0]], [[10.0, -20.0]]]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("E", [1, 5, 64])
def test_agrees_with_a_convolution(E: int, masked: bool) -> None:
    torch.manual_seed(E)
    x = torch.randn(12, 10, E, dtype=torch.float64, requires_grad=True)
    kernels = [torch.randn(F, E, w, dtype=x.dtype, requires_grad=True) for w, F in ((1, 3), (2, 20), (10, 7))]
    starts = torch.arange(10) <= torch.arange(12)[:, None] if masked else None
    weights = torch.randn(12, 30, dtype=x.dtype)
    got, want = window_maxima(x, kernels, starts), plain(x, kernels, starts)
    assert_close(got, want)
    for mine, theirs in zip(
        torch.autograd.grad((got * weights).sum(), [x, *kernels]),
        torch.autograd.grad((want * weights).sum(), [x, *kernels]),
        strict=True,
    ):
        assert_close(mine, theirs)


def test_gradients_of_both_orders() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, 2, dtype=torch.float64, requires_grad=True)
    kernels = [torch.randn(4, 2, w, dtype=x.dtype, requires_grad=True) for w in (1, 3)]

    def function(*given: Tensor) -> Tensor:
        return window_maxima(given[0], list(given[1:]))

    assert gradcheck(function, (x, *kernels))
    assert gradgradcheck(function, (x, *kernels))


@pytest.mark.parametrize("masked", [False, True])
def test_rounded_factors_and_exact_sums(masked: bool) -> None:
    # small integers have no rounding error in bfloat16: its products are those of float32, sums as well
    torch.manual_seed(3)
    x = torch.randint(-4, 5, (6, 7, 3)).float().requires_grad_()
    kernels = [torch.randint(-4, 5, (F, 3, w)).float().requires_grad_() for w, F in ((1, 3), (4, 20))]
    starts = torch.arange(7) <= torch.arange(6)[:, None] if masked else None

    want = window_maxima(x, kernels, starts)
    with torch.autocast("cpu", torch.bfloat16):
        got = window_maxima(x, kernels, starts)
    assert got.equal(want)
    gradients = (torch.autograd.grad(c.sum(), [x, *kernels]) for c in (got, want))
    for mine, theirs in zip(*gradients, strict=True):
        assert mine.dtype == torch.float32
        assert mine.equal(theirs)
    # a third is rounded, to 8 bits
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert window_maxima(x / 3, kernels).sub(window_maxima(x, kernels) / 3).abs().max() > 1e-3


def test_the_same_bits_with_two_threads() -> None:
    torch.manual_seed(1)
    x, kernel = torch.randn(64, 20, 64, requires_grad=True), torch.randn(200, 64, 5, requires_grad=True)

    def gradients() -> list[Tensor]:
        return list(torch.autograd.grad(window_maxima(x, [kernel]).square().sum(), (x, kernel)))

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first = gradients()
        for _ in range(5):
            assert all(a.equal(b) for a, b in zip(gradients(), first, strict=True))
    finally:
        torch.set_num_threads(before)
