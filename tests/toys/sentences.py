"""Rows of token ids as sequences."""

from __future__ import annotations

import torch

from algorithms.types import Sequences


def sentences(rows: list[list[int]], pad: int = 0) -> Sequences:
    """One sequence a row, padded to the longest."""
    tokens = torch.full((len(rows), max([len(row) for row in rows] + [1])), pad)
    for b, row in enumerate(rows):
        tokens[b, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return Sequences(tokens, torch.tensor([len(row) for row in rows], dtype=torch.int64))
