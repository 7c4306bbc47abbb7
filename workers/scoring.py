"""Scoring rows a constant number at a time, and the scorer that belongs to a discriminator's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from algorithms.bleu import References
from algorithms.models.base import Discriminator, Scorer
from algorithms.scores import lookup
from algorithms.types import Origin, Precision, Rows, Sequences
from workers.pieces import pieces, read_at_once, scored


class CurrentScorer:
    """The scorer of a discriminator whose weights change: brought up to date when it is next asked for."""

    def __init__(self, D: Discriminator, table_bytes: int) -> None:
        """
        Args:
            table_bytes: what the scorer may take for what it works out beforehand.
        """
        self._D, self._table_bytes = D, table_bytes
        self._scorer: Scorer | None = None
        self._stale = True

    def weights_changed(self) -> None:
        """Its discriminator has other weights now."""
        self._stale = True

    def __call__(self) -> Scorer:
        """The scorer for the weights as they are; not for two threads at once."""
        if self._scorer is None:
            self._scorer = self._D.scorer(self._table_bytes)
        elif self._stale:
            self._scorer.refresh()
        self._stale = False
        return self._scorer


def read(scorer: Scorer, sequences: Sequences) -> Tensor | None:
    """What the scorer reads of the prefixes of all sequences, some at a time: [B, ...], or None."""
    parts = []
    for places in pieces(sequences.lengths, read_at_once(sequences.tokens.device)):
        part = scorer.read(sequences.select(places))
        if part is None:
            return None
        parts.append(part)
    return torch.cat(parts)[: len(sequences)]


def score(
    scorer: Scorer,
    names: Sequence[str],
    sequences: Sequences,
    references: References | None,
    precision: Precision,
    origin: Origin | None = None,
) -> Tensor:
    """K scores of every sequence: [R, K] float32.

    Args:
        names: in ``algorithms.scores``.
        origin: what the sequences continue, those with the shorter prefixes first.
    """
    functions = [lookup(name).function for name in names]
    if not functions:
        return torch.empty(len(sequences), 0, device=sequences.tokens.device)
    # on a GPU a look at the lengths would stop the queue, and windows cost less than that
    looks = origin is not None and sequences.tokens.device.type == "cpu"
    scores = []
    for places in pieces(sequences.lengths, scored(sequences.tokens.device)):
        mine = None
        if origin is not None:
            shortest = int(origin.shared[places[0]]) if looks else origin.shortest
            mine = origin.select(places, shortest)
        rows = Rows(sequences.select(places), mine, precision)
        scores.append(torch.stack([function(scorer, rows, references) for function in functions], 1))
    return torch.cat(scores)[: len(sequences)]
