"""Numbers for n-grams: every n-gram of a corpus gets an id of its own, order by order.

An n-gram is the pair (id of its first n - 1 tokens, id of its last token), and its id is the rank of
that pair among the pairs seen: nothing is hashed, so nothing collides, and a pair fits into 63 bits
while a corpus has fewer than 2^31 tokens, however large the vocabulary or n. Looking up costs one
binary search per order, and an n-gram whose first n - 1 tokens are unknown is never looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Every place where an n-gram of one order stands; M of them.

    Attributes:
        rows: [M] int64, the sequence it stands in.
        first: [M] int64, the position of its first token.
        ids: [M] int64, its id in the index.
    """

    rows: Tensor
    first: Tensor
    ids: Tensor


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each n-gram of one order stands in each sequence; sorted by n-gram, then by sequence.

    Attributes:
        rows: [M] int64, the sequence.
        ids: [M] int64, the n-gram's id.
        counts: [M] int64, at least 1.
    """

    rows: Tensor
    ids: Tensor
    counts: Tensor


class NGramIndex:
    """The n-grams of a set of sequences, of every order from 1 to ``order``.

    Attributes:
        keys: for each order the sorted keys of its n-grams, [size] int64; an id is a place in here.
    """

    def __init__(self, order: int) -> None:
        if order < 1:
            raise ValueError(f"the order of n-grams must be at least 1, not {order}")
        self.order = order
        self.keys: tuple[Tensor, ...] = ()

    @classmethod
    def build(cls, tokens: Tensor, lengths: Tensor, order: int) -> tuple[NGramIndex, list[Occurrences]]:
        """The index of some sequences, and where its n-grams stand in them, for each order.

        Args:
            tokens: [B, T] int64; what stands beyond a row's length is not looked at.
            lengths: [B] int64, tokens that count.
            order: the largest n, at least 1.
        """
        index = cls(order)

        def learn(n: int, keys: Tensor) -> Tensor:
            table, ids = torch.unique(keys, return_inverse=True)
            index.keys += (table,)
            return ids

        return index, index._walk(tokens, lengths, order, learn)

    def find(self, tokens: Tensor, lengths: Tensor, order: int) -> list[Occurrences]:
        """Where known n-grams stand in other sequences, for each order up to ``order``.

        Args:
            tokens: [B, T] int64; what stands beyond a row's length is not looked at.
            lengths: [B] int64, tokens that count.
            order: at most the index's own.
        """
        return self._walk(tokens, lengths, order, self._search)

    def size(self, n: int) -> int:
        """How many different n-grams there are."""
        return len(self.keys[n - 1])

    def _search(self, n: int, keys: Tensor) -> Tensor:
        """Ids of some keys, -1 where unknown."""
        table = self.keys[n - 1]
        if not len(table):
            return torch.full_like(keys, -1)
        place = torch.searchsorted(table, keys).clamp_max(len(table) - 1)
        return torch.where(table[place] == keys, place, -1)

    def _walk(
        self, tokens: Tensor, lengths: Tensor, order: int, number: Callable[[int, Tensor], Tensor]
    ) -> list[Occurrences]:
        B, T = tokens.shape
        mask = torch.arange(T, device=tokens.device) < lengths[:, None]
        rows, first = mask.nonzero(as_tuple=True)  # [M] each, M shrinks from order to order
        ids = number(1, tokens[mask].long())
        unigrams = ids.new_full((B, T + order), -1)  # wide enough to read past the end
        unigrams[rows, first] = ids
        found: list[Occurrences] = []
        for n in range(1, order + 1):
            if n > 1:
                last = unigrams[rows, first + n - 1]
                rows, first, ids, last = _keep(last >= 0, rows, first, ids, last)
                ids = number(n, ids * self.size(1) + last)
            rows, first, ids = _keep(ids >= 0, rows, first, ids)
            found.append(Occurrences(rows, first, ids))
        return found


def count(occurrences: Occurrences, sequences: int) -> Counts:
    """How often each n-gram stands in each of ``sequences`` rows."""
    pairs, counts = torch.unique(occurrences.ids * sequences + occurrences.rows, return_counts=True)
    return (
        Counts(pairs % sequences, pairs // sequences, counts) if sequences else Counts(pairs, pairs, counts)
    )


def _keep(which: Tensor, *columns: Tensor) -> list[Tensor]:
    places = which.nonzero().squeeze(1)
    return [column[places] for column in columns]
