"""log softmax(h W + b) at one token a row, some rows at a time, so that logits stay in the processor's cache.

    log p_r = l_r,y - log sum_v exp l_r,v          l = h W + b
    d l_r,v = g_r ([v = y] - p_r,v)                g = gradient of log p

Written with ``cross_entropy``, each of four tensors of [R, V] goes through memory several times: at a
vocabulary of 5,000 that takes most of a likelihood step. Here one of them is kept for the backward pass,
the unnormalised probabilities, and only where there will be one. The bias is one more row of the matrix, and
weights are divided by log 2, so that powers of two, which take half of the time of exponentials, are all that
is left to do. Sums are in one order.
"""

from __future__ import annotations

from math import log
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

LOGITS_IN_CACHE = 2**19
"""Logits of one piece: 2 MiB of float32."""

EXPONENTS = 100
"""Powers of two up to this one, and so sums of thousands of them, are far from the limits of float32."""


def linear_log_prob(h: Tensor, weight: Tensor, bias: Tensor, tokens: Tensor, banned: Tensor | None) -> Tensor:
    """log p of each row's token: [R].

    Args:
        h: [R, H].
        weight: [H, V].
        bias: [V].
        tokens: [R] int64.
        banned: [V] bool, symbols that have no probability, or None.
    """
    if banned is not None:
        bias = bias.masked_fill(banned, -torch.inf)
    with_one = pad(h, (0, 1), value=1.0)
    log_p: Tensor = _LinearLogProb.apply(with_one, torch.cat([weight, bias[None]]), tokens)  # type: ignore[no-untyped-call]
    return log_p


class _LinearLogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, tokens: Tensor) -> Tensor:
        R, V = len(h), weight.shape[1]
        pieces = _pieces(R, V)
        keep = any(ctx.needs_input_grad)
        space = h.new_empty(R if keep else pieces[0].stop, V)
        at, totals = h.new_empty(R, 1), h.new_empty(R, 1)
        scaled = weight / log(2)
        small = _bounded(h, scaled)
        for rows in pieces:
            logits = space[rows] if keep else space[: rows.stop - rows.start]  # [r, V], in powers of two
            torch.mm(h[rows], scaled, out=logits)
            if not small:
                logits.sub_(logits.amax(1, keepdim=True))
            torch.gather(logits, 1, tokens[rows, None], out=at[rows])
            torch.sum(logits.exp2_(), 1, keepdim=True, out=totals[rows])
        if keep:
            ctx.save_for_backward(h, weight, tokens, space, totals)
        return (at * log(2) - totals.log()).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        h, weight, tokens, kept, totals = ctx.saved_tensors
        dh, dweight = torch.empty_like(h), torch.zeros_like(weight)
        weight = weight.masked_fill(weight.isinf(), 0.0)  # of symbols without probability: no part of a sum
        share = -g[:, None] / totals  # [R, 1]
        for rows in _pieces(len(h), weight.shape[1]):
            dlogits = kept[rows] * share[rows]
            dlogits.scatter_add_(1, tokens[rows, None], g[rows, None])
            torch.mm(dlogits, weight.t(), out=dh[rows])
            dweight.addmm_(h[rows].t(), dlogits)
        return dh, dweight, None


def _bounded(h: Tensor, scaled: Tensor) -> bool:
    """Whether no power of two can overflow, or all of a row vanish, so that the greatest need not be sought.

    Not asked of a GPU, whose queue would have to end first.
    """
    if h.device.type != "cpu" or not len(h):
        return False
    most = h.abs().amax(0) @ scaled.masked_fill(scaled.isinf(), 0.0).abs()  # [V]
    return bool(most.max() < EXPONENTS)


def _pieces(R: int, V: int) -> list[slice]:
    size = max(16, LOGITS_IN_CACHE // V)
    return [slice(first, min(first + size, R)) for first in range(0, max(1, R), size)]
