"""What a character model is judged by: n-grams beside those of all training lines, and words that exist.

The divergence is that of Gulrajani et al. 2017 as their language_helpers.py has it, in bits, for n = 1 .. 4:
padding counts as a character, the samples are always 640 rows, and so are the held-out real lines that give
the floor. 640 rows of any kind have a high divergence for n = 4, so the floor is far above zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from algorithms.types import Sequences

ROWS = 640
ORDERS = (1, 2, 3, 4)
_WORD = re.compile(r"[^\W\d_]{3,}")


class Characters:
    """What is known of a corpus of characters, worked out once.

    Attributes:
        test, end, filled: as they were given.
    """

    def __init__(
        self, spelling: Sequence[str], train: Sequences, test: Sequences, end: int, *, filled: bool
    ) -> None:
        """
        Args:
            spelling: V characters; a token's number is its place in here.
            end: the token that ends a line.
            filled: whether all rows have one length and ``end`` in every place behind the line.
        """
        self._spelling, self._train, self.test, self.end = spelling, train, test, end
        self.filled = filled

    def lines(self, rows: Sequences) -> Sequences:
        """The same rows, as long as the lines in them: up to the first end symbol."""
        if not self.filled:
            return rows
        ended = rows.tokens == self.end
        first = torch.where(ended.any(1), ended.long().argmax(1) + 1, rows.tokens.shape[1])
        return Sequences(rows.tokens, first, rows.source)

    @property
    def divergence_signature(self) -> str:
        return f"js|bits|samples:{ROWS}|against:train:{len(self._train)}|padding:counted"

    def divergences(self, samples: Sequences) -> list[float]:
        """JS_1 .. JS_4 of 640 samples; nan where there are fewer, or where rows are not filled up."""
        if not self.filled or len(samples) < ROWS:
            return [math.nan] * len(ORDERS)
        rows = samples.tokens[:ROWS]
        return [
            _divergence(*reference, *_counts(rows, n, len(self._spelling)))
            for n, reference in zip(ORDERS, self._reference, strict=True)
        ]

    @cached_property
    def floors(self) -> list[float]:
        """The same of 640 held-out lines."""
        return self.divergences(self.test)

    @cached_property
    def unigram(self) -> Sequences:
        """Rows of characters that are drawn one by one, as often as they are in the training rows."""
        tokens = self._train.tokens[self._train.mask]
        drawn = torch.randint(
            len(tokens), (ROWS, self._train.tokens.shape[1]), generator=torch.Generator().manual_seed(0)
        )
        return Sequences(tokens[drawn], torch.full((ROWS,), drawn.shape[1]))

    def known_words(self, samples: Sequences) -> float:
        """Share of the words of samples that occur in the training lines; nan without a word."""
        words = self._words(samples)
        return sum(word in self._known for word in words) / len(words) if words else math.nan

    @cached_property
    def _known(self) -> set[str]:
        return set(self._words(self._train))

    @cached_property
    def _reference(self) -> list[tuple[Tensor, Tensor]]:
        return [_counts(self._train.tokens, n, len(self._spelling)) for n in ORDERS]

    def _words(self, sequences: Sequences) -> list[str]:
        """Runs of three letters or more, since shorter ones nearly all occur in any text, in lower case, and
        without those that the end of a full row may have cut."""
        found = []
        for row, length in zip(sequences.tokens.tolist(), sequences.lengths.tolist(), strict=True):
            line = "".join(" " if token == self.end else self._spelling[token] for token in row[:length])
            spans = [match for match in _WORD.finditer(line) if match.end() < len(row)]
            found += [match.group().lower() for match in spans]
        return found


def _counts(rows: Tensor, n: int, size: int) -> tuple[Tensor, Tensor]:
    """The n-grams of rows as numbers in base V, sorted, and how often each occurs."""
    if size**n > torch.iinfo(torch.int64).max:
        raise ValueError(f"{n}-grams of {size} characters do not fit 64 bits: fewer characters are wanted")
    T = rows.shape[1]
    codes = torch.zeros_like(rows[:, : max(0, T - n + 1)])
    for i in range(n):
        codes = codes * size + rows[:, i : T - n + 1 + i]
    return torch.unique(codes, return_counts=True)


def _divergence(first: Tensor, many: Tensor, second: Tensor, few: Tensor) -> float:
    """JS of two frequency tables, each sorted numbers and counts."""
    every, place = torch.unique(torch.cat([first, second]), return_inverse=True)
    p, q = (torch.zeros(len(every), dtype=torch.float64) for _ in "pq")
    p[place[: len(first)]] = many / many.sum(dtype=torch.float64)
    q[place[len(first) :]] = few / few.sum(dtype=torch.float64)
    m = (p + q) / 2
    return sum(torch.where(r > 0, r * (r / m).log2(), 0.0).sum().item() for r in (p, q)) / 2
