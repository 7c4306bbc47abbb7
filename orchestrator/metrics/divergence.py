"""How far the n-grams of samples are from those of real sequences: Jensen-Shannon divergence.

    JS_n = (KL(P || M) + KL(Q || M)) / 2,   M = (P + Q) / 2,   P, Q: relative frequencies of n-grams

in bits, 0 for equal frequencies, 1 for nothing in common (the metric of Gulrajani et al. 2017, WGAN-GP,
for the character model). Both frequencies are estimates, so equal distributions, too, have a divergence
that falls with the number of sequences: compare values of one number of sequences alone, and with the
floor that held-out real sequences of the same number have.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from algorithms.bleu import count_words
from algorithms.ngrams import NGramIndex
from algorithms.types import Sequences, join_sequences


def js_divergence(
    samples: Sequences, real: Sequences, end: int | None, order: int, *, padding: bool = False
) -> list[float]:
    """JS_1 .. JS_order; nan where one side has no n-gram.

    Args:
        samples, real: as many of each, of one padded length.
        end: the alphabet's end symbol, which is no word.
        padding: whether every position of a row counts, the padding too.

    Raises:
        ValueError: the sides differ in number: the value would be larger for that alone.
    """
    if len(samples) != len(real):
        raise ValueError(
            f"the divergence of {len(samples)} sequences from {len(real)} would be biased by the difference; "
            "give as many of one as of the other"
        )
    both = join_sequences([_widened(part, samples, real) for part in (samples, real)])
    T = both.tokens.shape[1]
    words = torch.full_like(both.lengths, T) if padding else count_words(both, end)
    index, found = NGramIndex.build(both.tokens, words, order)
    divergences = []
    for n, one in enumerate(found, 1):
        first = one.rows < len(samples)
        p, q = (_frequencies(one.ids[side], index.size(n)) for side in (first, ~first))
        defined = bool(first.any()) and bool((~first).any())
        m = (p + q) / 2
        divergences.append((_kl(p, m) + _kl(q, m)) / 2 if defined else math.nan)
    return divergences


def _frequencies(ids: Tensor, size: int) -> Tensor:
    counts = torch.bincount(ids, minlength=size).double()
    return counts / counts.sum().clamp_min(1)


def _kl(p: Tensor, m: Tensor) -> float:
    return torch.where(p > 0, p * (p / m.clamp_min(1e-300)).log2(), 0.0).sum().item()


def _widened(part: Sequences, *others: Sequences) -> Sequences:
    missing = max(one.tokens.shape[1] for one in others) - part.tokens.shape[1]
    return Sequences(torch.nn.functional.pad(part.tokens, (0, missing)), part.lengths)
