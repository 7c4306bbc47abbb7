"""How much of what is sampled is new: among the samples, and beside what was learned from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from algorithms.bleu import count_words
from algorithms.ngrams import NGramIndex
from algorithms.types import Sequences


def unique_rate(samples: Sequences) -> float:
    """Different samples as a share of all; it falls with their number. nan without samples."""
    return len(set(_rows(samples))) / len(samples) if len(samples) else math.nan


def novelty(samples: Sequences, known: Sequences) -> float:
    """Share of samples that are not among the known sequences; nan without samples."""
    seen = set(_rows(known))
    return sum(row not in seen for row in _rows(samples)) / len(samples) if len(samples) else math.nan


def distinct(samples: Sequences, end: int | None, order: int) -> list[float]:
    """Different n-grams as a share of all, for n = 1 .. order (Li et al. 2016,
    https://arxiv.org/abs/1510.03055); it falls with their number. nan where no sample is long enough.

    Args:
        end: the alphabet's end symbol, which is no word.
    """
    index, found = NGramIndex.build(samples.tokens, count_words(samples, end), order)
    totals = [len(one.ids) for one in found]
    return [index.size(n) / total if total else math.nan for n, total in enumerate(totals, 1)]


def _rows(sequences: Sequences) -> list[tuple[int, ...]]:
    tokens: Tensor = torch.where(sequences.mask, sequences.tokens, -1)
    return [
        tuple(row[:length]) for row, length in zip(tokens.tolist(), sequences.lengths.tolist(), strict=True)
    ]
