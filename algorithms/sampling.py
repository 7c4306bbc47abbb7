"""One token a row from logits, by the inverse of the cumulative distribution.

On CPU ``torch.multinomial`` is slower than this by an order of magnitude at a vocabulary of 5,000: powers
of two (half of the time of ``softmax`` there), sums of blocks, a search among the blocks, a search
inside one block. Nothing is normalised: a number is looked up at its share of the total.
"""

from __future__ import annotations

from functools import lru_cache
from math import log

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 64

BELOW_ONE = 1 - torch.finfo(torch.float64).eps


def weigh(logits: Tensor) -> Tensor:
    """Probabilities up to a factor of each row's own, the greatest 1: [R, V] -> [R, V]."""
    top = logits.amax(1, keepdim=True)
    # 2 ** ((logits - top) / log 2), in one pass each; what rounding does to top / log 2, it does to all
    return torch.add(top * (-1 / log(2)), logits, alpha=1 / log(2)).exp2_()


def draw(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """The token whose interval of the cumulative distribution holds the row's number; its log-probability.

    A symbol of weight 0 is never returned.

    Args:
        weights: [R, V], not negative, with a positive sum; see ``weigh``.
        uniform: [R] in [0, 1).

    Returns:
        [R] int64, [R].
    """
    R, V = weights.shape
    width = _width(V)
    if V % width:
        weights = pad(weights, (0, width - V % width))
    blocks = weights.view(R, -1, width)
    sums = blocks.sum(2)  # [R, blocks]
    ends = _running_sum(sums)
    total = ends[:, -1:]
    # rounding must not push a target onto the total, behind the last symbol that has probability
    target = uniform[:, None] * (total * BELOW_ONE)
    block = torch.searchsorted(ends, target, right=True)  # [R, 1]
    rows = block.squeeze(1) + torch.arange(0, sums.numel(), sums.shape[1], device=weights.device)
    inside = blocks.flatten(0, 1).index_select(0, rows)  # [R, width]
    upto = _running_sum(inside)
    begin = (ends - sums).gather(1, block)
    rest = torch.minimum(target - begin, upto[:, -1:] * BELOW_ONE).clamp_min_(0)
    place = torch.searchsorted(upto, rest, right=True)  # [R, 1]
    log_prob = (inside.gather(1, place) / total).log().to(weights.dtype)
    return torch.add(place, block, alpha=width).squeeze(1), log_prob.squeeze(1)


def log_prob_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """log softmax(logits) at the given tokens: [R, V], [R] -> [R]."""
    return logits.gather(1, tokens[:, None]).squeeze(1) - logits.logsumexp(1)


def _running_sum(x: Tensor) -> Tensor:
    """Sums over the columns up to each one: [R, n] -> [R, n] float64.

    In float32 boundaries between 5,000 symbols would be off by about 1e-7, and draws beside them others.
    """
    return x.cumsum(1, dtype=torch.float64) if x.device.type == "cpu" else running_sum_in_fixed_order(x)


def running_sum_in_fixed_order(x: Tensor) -> Tensor:
    """The same. CUDA's cumsum adds in no fixed order, which torch refuses where results must repeat."""
    total, shift = x.double(), 1
    while shift < x.shape[1]:
        total, shift = total + pad(total[:, :-shift], (shift, 0)), 2 * shift
    return total.cummax(1).values  # pairs are added in different orders: the last bit might fall


@lru_cache
def _width(V: int) -> int:
    """Symbols in a block: about ``BLOCK``, such that the blocks cover V exactly where that is possible."""
    fitting = [width for width in range(BLOCK // 2, 2 * BLOCK + 1) if V % width == 0]
    return min(fitting, key=lambda width: abs(width - BLOCK), default=BLOCK)
