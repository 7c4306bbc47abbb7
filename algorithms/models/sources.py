"""Conditions of several texts as models read them: one after the other, or each by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.types import Source


def utterances(source: Source) -> tuple[Tensor, Tensor]:
    """The texts of each row and what counts of them: [B, U, S] int64 and bool.

    Raises:
        ValueError: the source has no tokens.
    """
    if source.tokens is None:
        raise ValueError("a source with tokens is wanted: this one has none")
    tokens = source.tokens
    mask = torch.ones_like(tokens, dtype=torch.bool) if source.mask is None else source.mask
    return (tokens, mask) if tokens.dim() == 3 else (tokens[:, None], mask[:, None])


def in_a_row(source: Source) -> tuple[Tensor, Tensor]:
    """The texts of each row as one, without the padding between them: tokens [B, U S], lengths [B]."""
    tokens, mask = (part.flatten(1) for part in utterances(source))
    order = (~mask).long().argsort(dim=1, stable=True)  # what counts comes first, in its order
    return tokens.gather(1, order), mask.sum(1)
