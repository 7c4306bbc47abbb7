"""Scoring rows a constant number at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from algorithms.bleu import References
from algorithms.models.base import Scorer
from algorithms.scores import lookup
from algorithms.types import Origin, Precision, Rows, Sequences
from workers.pieces import pieces, read_at_once, scored


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
    for places in pieces(sequences.lengths, _at_once(sequences, origin)):
        mine = None
        if origin is not None:
            shortest = int(origin.shared[places[0]]) if looks else origin.shortest
            mine = origin.select(places, shortest)
        rows = Rows(sequences.select(places), mine, precision)
        scores.append(torch.stack([function(scorer, rows, references) for function in functions], 1))
    return torch.cat(scores)[: len(sequences)]


def score_prefixes(scorer: Scorer, names: Sequence[str], sequences: Sequences) -> Tensor:
    """The score of every prefix as it stands: [R, T, 1, 1] float32.

    Raises:
        ValueError: it is another score than the discriminator's logit.
    """
    if tuple(names) != ("logit",):
        raise ValueError(f"prefixes are scored by the discriminator's logit alone, not by {', '.join(names)}")
    parts = [
        scorer.prefix_logits(sequences.select(places))
        for places in pieces(sequences.lengths, _at_once(sequences))
    ]
    return torch.cat(parts)[: len(sequences), :, None, None]


def _at_once(sequences: Sequences, origin: Origin | None = None) -> int:
    """Rows of a call: few where the source of each is read in it, which takes several times the memory."""
    source, device = sequences.source, sequences.tokens.device
    reads = origin is None and source is not None and source.tokens is not None
    return read_at_once(device) if reads else scored(device)
