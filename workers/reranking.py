"""Of several replies the one that says most about what it answers: mutual information.

Li, Galley, Brockett, Gao, Dolan 2016 (https://arxiv.org/abs/1510.03055), Eq. 13, MMI-bidi: hypotheses y of a
generator are ordered by

    (1 - lambda) log p(y | x) + lambda log p(x | y)

with p(x | y) by a model that was trained the other way round, x being the latest turn of the history.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.models.base import Generator
from algorithms.types import Sequences, Source


@dataclass(frozen=True, slots=True)
class Backward:
    """A generator of histories from replies.

    Attributes:
        weight: lambda.
    """

    generator: Generator
    weight: float = 0.5


@torch.no_grad()
def rerank(backward: Backward, found: Sequences, likely: Tensor, source: Source) -> tuple[Sequences, Tensor]:
    """The W hypotheses of each of B rows, in their new order.

    Args:
        found: B W sequences, those of a row together; padding behind them has no meaning.
        likely: [B, W] their log-likelihoods.
        source: of the B rows, [B, S] or [B, U, S] tokens.

    Returns:
        The sequences, and what they are ordered by, [B, W].
    """
    G, (B, W) = backward.generator.eval(), likely.shape
    if source.tokens is None or source.mask is None:
        raise ValueError("there is nothing to explain: the sources have no tokens")
    latest = [part if part.dim() == 2 else part[:, -1] for part in (source.tokens, source.mask)]
    said, there = (part[:, : G.length] for part in latest)  # [B, S] each
    target = torch.full((B, G.length), G.alphabet.pad, dtype=torch.int64, device=said.device)
    target[:, : said.shape[1]] = said.where(there, G.alphabet.pad)
    counted = torch.zeros_like(target, dtype=torch.bool)
    counted[:, : said.shape[1]] = there
    counted &= G.alphabet.emitted(target)
    target, counted = (part.repeat_interleave(W, 0) for part in (target, counted))
    asked = Source(found.tokens[:, None], found.mask[:, None])  # [B W, 1, T]
    log_p = G.log_prob(target, asked).masked_fill(~counted, 0.0).sum(1).view(B, W)
    score = (1 - backward.weight) * likely + backward.weight * log_p
    order = score.argsort(dim=1, descending=True, stable=True)
    rows = (order + torch.arange(B, device=order.device)[:, None] * W).flatten()
    return found.select(rows), score.gather(1, order)
