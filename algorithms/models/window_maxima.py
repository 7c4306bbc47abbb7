"""The greatest response of each filter over all windows of a sequence, with a backward pass that is sparse.

    c_bf = max_s sum_{o < w} x_{b, s+o} . W_{o f}          s = 0 .. T - w

Only the window that wins passes a gradient. In the backward pass of a convolution followed by a maximum,
which automatic differentiation would write, all but one of T - w + 1 terms are multiplied by zero. Here the
gradient of a kernel is a weighted sum of the windows that won, one lookup for each (b, f), and the gradient
of x is added place by place into one buffer, without a copy of the windows. The gradient can be
differentiated again (where the winner is held fixed, as everywhere).

Under ``torch.autocast`` the products take rounded factors, those of the backward pass as well; maxima, sums
and gradients are of x's own type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d, embedding_bag

from algorithms.models.products import product


def window_maxima(x: Tensor, kernels: Sequence[Tensor], starts: Tensor | None = None) -> Tensor:
    """c for every filter of every width, without bias: [B, features].

    Args:
        x: [B, T, E].
        kernels: [F, E, w] each, as ``torch.nn.Conv1d`` has them.
        starts: [B, T] bool, false where a window that begins there does not compete; None: all do. The
            first window of a row always competes.
    """
    if _on_cpu(x):
        found = [_Maxima.apply(x, kernel, starts)[0] for kernel in kernels]  # type: ignore[no-untyped-call]
        return torch.cat(found, 1)
    found = []
    for kernel in kernels:
        responses = conv1d(x.transpose(1, 2), kernel)  # [B, F, W]
        if starts is not None:
            responses = responses.masked_fill(~starts[:, None, : responses.shape[2]], -torch.inf)
        found.append(responses.amax(2))
    return torch.cat(found, 1).to(x.dtype)


def _on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu"


class _Maxima(torch.autograd.Function):
    """One width, on a CPU."""

    @staticmethod
    def forward(x: Tensor, kernel: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
        B, T, E = x.shape
        F, _, w = kernel.shape
        responses = product(_windows(x, w), kernel.permute(2, 1, 0).reshape(w * E, F)).view(B, T - w + 1, F)
        if starts is not None:
            responses = responses.masked_fill(~starts[:, : T - w + 1, None], -torch.inf)
        best = responses.max(1)
        return best.values, best.indices

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, kernel, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, kernel, output[1])
        ctx.factors = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype

    @staticmethod
    def backward(ctx: Any, dc: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, kernel, winner = ctx.saved_tensors  # winner: [B, F]
        B, T, E = x.shape
        F, _, w = kernel.shape
        W = T - w + 1
        dx = dkernel = None
        if ctx.needs_input_grad[1]:
            rows = winner + torch.arange(0, B * W, W)[:, None]  # [B, F] of the windows, row by row
            dkernel = embedding_bag(  # [F, w E]
                rows.t().contiguous(), _windows(x, w), mode="sum", per_sample_weights=dc.t().contiguous()
            )
            dkernel = dkernel.view(F, w, E).transpose(1, 2)
        if ctx.needs_input_grad[0]:
            # by place, then by row: what one place of the windows adds to is one block of memory
            dc, kernel = dc.to(ctx.factors), kernel.to(ctx.factors)
            dresponses = dc.new_zeros(W, B, F).scatter(0, winner[None], dc[None]).view(W * B, F)
            by_place = x.new_zeros(T, B, E)
            for o in range(w):
                block = by_place[o : o + W].view(W * B, E)
                if ctx.factors == x.dtype:
                    block.addmm_(dresponses, kernel[:, :, o])
                else:
                    block.add_(torch.mm(dresponses, kernel[:, :, o]))
            dx = by_place.transpose(0, 1)
        return dx, dkernel, None


def _windows(x: Tensor, w: int) -> Tensor:
    """All windows of w places, row by row: [B, T, E] -> [B (T - w + 1), w E]."""
    B, _, E = x.shape
    return x.reshape(B, -1).unfold(1, w * E, E).reshape(-1, w * E)
