"""log softmax(h W + b) at one token a row, some rows at a time, so that logits stay in the processor's cache.

    log p_r = l_r,y - log sum_v exp l_r,v          l = h W + b
    d l_r,v = g_r ([v = y] - p_r,v)                g = gradient of log p

Written with ``cross_entropy``, each of four tensors of [R, V] goes through memory several times: at a
vocabulary of 5,000 that takes most of a likelihood step. Here one of them is kept for the backward pass,
the unnormalised probabilities, and only where there will be one. Sums are in one order.
"""

from __future__ import annotations

from math import log
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOGITS_IN_CACHE = 2**19
"""Logits of one piece: 2 MiB of float32."""


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
    log_p: Tensor = _LinearLogProb.apply(h, weight, bias, tokens)  # type: ignore[no-untyped-call]
    return log_p


class _LinearLogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, tokens: Tensor) -> Tensor:
        R, V = len(h), weight.shape[1]
        pieces = _pieces(R, V)
        keep = any(ctx.needs_input_grad)
        space = h.new_empty(R if keep else pieces[0].stop, V)
        log_p, totals = h.new_empty(R), h.new_empty(R, 1)
        for rows in pieces:
            logits = space[rows] if keep else space[: rows.stop - rows.start]  # [r, V]
            torch.addmm(bias, h[rows], weight, out=logits)
            top = logits.amax(1, keepdim=True)
            at = logits.gather(1, tokens[rows, None]) - top
            # powers of two take half of the time of exponentials
            powers = torch.add(top * (-1 / log(2)), logits, alpha=1 / log(2), out=logits).exp2_()
            torch.sum(powers, 1, keepdim=True, out=totals[rows])
            log_p[rows] = (at - totals[rows].log()).squeeze(1)
        if keep:
            ctx.save_for_backward(h, weight, tokens, space, totals)
        return log_p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        h, weight, tokens, kept, totals = ctx.saved_tensors
        dh, dweight, dbias = torch.empty_like(h), torch.zeros_like(weight), weight.new_zeros(weight.shape[1])
        share = -g[:, None] / totals  # [R, 1]
        for rows in _pieces(len(h), weight.shape[1]):
            dlogits = kept[rows] * share[rows]
            dlogits.scatter_add_(1, tokens[rows, None], g[rows, None])
            torch.mm(dlogits, weight.t(), out=dh[rows])
            dweight.addmm_(h[rows].t(), dlogits)
            dbias += dlogits.sum(0)
        return dh, dweight, dbias, None


def _pieces(R: int, V: int) -> list[slice]:
    size = max(16, LOGITS_IN_CACHE // V)
    return [slice(first, min(first + size, R)) for first in range(0, max(1, R), size)]
