"""Sentences as vectors without a downloaded model: signed random projections of their words and word pairs.

Every word has a vector of +1 and -1, the bits of a hash of its spelling, so that it is the same in every
vocabulary, run and version. A sentence is the sum of the vectors of its words, beside the sum over its
neighbouring pairs of the product of the first word's and the second word's (another hash); each divided by
the square root of the number of its terms. Two such vectors have in expectation the inner product of the
two sentences' counts of words and pairs, so divided (Weinberger et al. 2009, "Feature Hashing").
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from algorithms.bleu import count_words
from algorithms.types import Sequences

WIDTH = 128
"""Values for the words, and as many for the pairs."""

FEATURES = f"hashed-words-and-pairs,{2 * WIDTH},v:1"


class Features:
    """Vectors of sentences over one vocabulary.

    Args:
        spelling: V words; a token's number is its place in here.
        end: the alphabet's end symbol, which is no word.
    """

    def __init__(self, spelling: Sequence[str], end: int | None) -> None:
        self._end = end
        signs = torch.tensor([_signs(word) for word in spelling], dtype=torch.float32)  # [V, 3 WIDTH]
        self._word, self._first, self._second = signs.reshape(len(spelling), 3 * WIDTH).chunk(3, 1)

    def __call__(self, sequences: Sequences) -> Tensor:
        """[B, 2 * WIDTH] float64; zeros for a sentence without words."""
        tokens, words = sequences.tokens, count_words(sequences, self._end)
        B, T = tokens.shape
        total = torch.zeros(B, 2, WIDTH, dtype=torch.float64)
        place = torch.arange(T)
        for t in range(T):  # one position at a time: [B, T, WIDTH] of a large corpus would be gigabytes
            inside = (place[t] < words)[:, None]
            total[:, 0] += self._word[tokens[:, t]] * inside
            if t:
                total[:, 1] += self._first[tokens[:, t - 1]] * self._second[tokens[:, t]] * inside
        terms = torch.stack([words, words - 1], 1).clamp_min(1).double()
        return (total / (WIDTH * terms).sqrt()[:, :, None]).flatten(1)


def _signs(word: str) -> list[int]:
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=3 * WIDTH // 8).digest()
    return [1 if byte >> bit & 1 else -1 for byte in digest for bit in range(8)]
