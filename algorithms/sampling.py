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
    weights = weights.view(R, -1, width)
    # [R, blocks + 1]: a block ends where the next one begins
    begins = pad(_running_sum(weights.sum(2)), (1, 0))
    total = begins[:, -1:]
    # rounding must not push a target onto the total, behind the last symbol that has probability
    below = 1 - torch.finfo(weights.dtype).eps
    target = uniform.to(weights.dtype)[:, None] * (total * below)
    block = torch.searchsorted(begins, target, right=True) - 1  # [R, 1]
    inside = weights.gather(1, block[..., None].expand(R, 1, width)).squeeze(1)  # [R, width]
    sums = _running_sum(inside)
    rest = torch.minimum(target - begins.gather(1, block), sums[:, -1:] * below).clamp_min_(0)
    place = torch.searchsorted(sums, rest, right=True)  # [R, 1]
    log_prob = (inside.gather(1, place) / total).log()
    return (block * width + place).squeeze(1), log_prob.squeeze(1)


def log_prob_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """log softmax(logits) at the given tokens: [R, V], [R] -> [R]."""
    return logits.gather(1, tokens[:, None]).squeeze(1) - logits.logsumexp(1)


def _running_sum(x: Tensor) -> Tensor:
    """Sums over the columns up to each one: [R, n] -> [R, n]."""
    return x.cumsum(1) if x.device.type == "cpu" else running_sum_in_fixed_order(x)


def running_sum_in_fixed_order(x: Tensor) -> Tensor:
    """The same; CUDA's cumsum adds in no fixed order, and torch refuses it where results are to be repeated.

    In float64, so that sums of float32 do not fall anywhere.
    """
    total, shift = x.double(), 1
    while shift < x.shape[1]:
        total, shift = total + pad(total[:, :-shift], (shift, 0)), 2 * shift
    return total.to(x.dtype)


@lru_cache
def _width(V: int) -> int:
    """Symbols in a block: about ``BLOCK``, such that the blocks cover V exactly where that is possible."""
    fitting = [width for width in range(BLOCK // 2, 2 * BLOCK + 1) if V % width == 0]
    return min(fitting, key=lambda width: abs(width - BLOCK), default=BLOCK)
