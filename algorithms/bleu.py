"""BLEU of generated sequences: one table of reference counts instead of a loop over references.

Papineni et al. 2002 (https://aclanthology.org/P02-1040) per sentence; self-BLEU is Zhu et al. 2018,
Texygen (https://arxiv.org/abs/1802.01886). For a hypothesis h, all references at once:

    p_k   = sum_g min(count_h(g), max over references r of count_r(g)) / max(1, |h| - k + 1)   g: k-grams of h
    BLEU  = BP * exp( 1/n sum_{k=1..n} log p_k ),    BP = min(1, exp(1 - r* / |h|))

r* is the reference length closest to |h|, the shorter of two. Where a numerator is 0, ``smoothing``
stands in its place (nltk's ``method1``); without one known word, BLEU is 0. Only the largest count of
an n-gram in any one reference matters, so the references are a table that is made once.

The end symbol is no word: where an alphabet has one it is taken off both sides before counting.
BLEU falls with fewer references: report their number with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.ngrams import Counts, NGramIndex, count
from algorithms.types import Sequences


@dataclass(frozen=True, slots=True)
class Limits:
    """How often references use each n-gram of one order; int32, [size].

    Attributes:
        largest: the largest count in any one reference.
        owner: the reference that has it; the first where several do.
        second: the largest count in the other references, 0 where there is none.
    """

    largest: Tensor
    owner: Tensor
    second: Tensor


class References:
    """What BLEU must know of the real sequences; immutable, small, and cheap to send.

    Args:
        sequences: the references, at least one.
        end: the alphabet's end symbol, which is no word; None where there is none.
        order: the largest n that will be asked for.

    Raises:
        ValueError: without references, or for an order below 1.
    """

    def __init__(self, sequences: Sequences, end: int | None = None, order: int = 5) -> None:
        if not len(sequences):
            raise ValueError("BLEU needs at least one reference, got none")
        self.order, self.end, self.count = order, end, len(sequences)
        words = count_words(sequences, end)  # [B]
        self.lengths, self.length_counts = torch.unique(words, return_counts=True)  # [U] each, ascending
        self.index, found = NGramIndex.build(sequences.tokens, words, order)
        self.limits = tuple(
            _limits(count(one, self.count), self.index.size(n)) for n, one in enumerate(found, 1)
        )

    def __len__(self) -> int:
        return self.count


def count_words(sequences: Sequences, end: int | None) -> Tensor:
    """Tokens of each sequence without padding and without the end symbol: [B] int64."""
    tokens, lengths = sequences.tokens, sequences.lengths
    if end is None or not tokens.shape[1]:
        return lengths
    last = tokens.gather(1, (lengths - 1).clamp_min(0)[:, None]).squeeze(1)  # [B]
    return lengths - ((last == end) & (lengths > 0)).long()


def sentence_bleu(hypotheses: Sequences, references: References, n: int, smoothing: float = 0.1) -> Tensor:
    """BLEU-n of every sequence against all references.

    Cumulative: uniform weights 1/n over the orders 1 .. n. See the module for the definition.

    Args:
        hypotheses: B sequences; an empty one has BLEU 0.
        references: on any device.
        n: 1 .. ``references.order``.
        smoothing: count that replaces a zero numerator; 0 for none, which makes such a BLEU 0.

    Returns:
        [B] float32 in [0, 1], on the hypotheses' device.

    Raises:
        ValueError: for n or smoothing out of bounds.
    """
    return sentence_bleus(hypotheses, references, n, smoothing)[-1]


def self_bleu(sequences: Sequences, n: int, end: int | None = None, smoothing: float = 0.1) -> Tensor:
    """BLEU-n of every sequence against all the others: 1 where everything is the same, low where all differ.

    A sequence is never its own reference; an equal one elsewhere is.

    Args:
        sequences: B of them, at least two.
        n: at least 1.
        end: the alphabet's end symbol, which is no word; None where there is none.
        smoothing: as for ``sentence_bleu``.

    Returns:
        [B] float32 in [0, 1].

    Raises:
        ValueError: with fewer than two sequences, or for n or smoothing out of bounds.
    """
    return self_bleus(sequences, n, end, smoothing)[-1]


def sentence_bleus(
    hypotheses: Sequences,
    references: References,
    n: int,
    smoothing: float = 0.1,
    *,
    single_order: bool = False,
) -> Tensor:
    """BLEU-1 .. BLEU-n of every sequence, in the time that BLEU-n takes: [n, B] float32.

    Args:
        single_order: instead of BLEU the clipped precision of each order alone, times the brevity penalty.
            Some toolkits print that under BLEU's name.
    """
    return _bleus(hypotheses, references, n, smoothing, leave_one_out=False, single_order=single_order)


def self_bleus(
    sequences: Sequences,
    n: int,
    end: int | None = None,
    smoothing: float = 0.1,
    *,
    first: int | None = None,
    references: int | None = None,
    single_order: bool = False,
) -> Tensor:
    """Self-BLEU-1 .. self-BLEU-n, as ``sentence_bleus``: [n, B] float32.

    Args:
        first: of so many first sequences alone; None: of all.
        references: against so many first sequences, itself left out; None: against all.
    """
    if len(sequences) < 2:
        raise ValueError(
            f"self-BLEU compares a sequence with others: it needs at least 2, got {len(sequences)}"
        )
    known = References(sequences.select(slice(0, references)), end, order=n)
    hypotheses = sequences.select(slice(0, first))
    return _bleus(hypotheses, known, n, smoothing, leave_one_out=True, single_order=single_order)


def _bleus(
    hypotheses: Sequences,
    references: References,
    n: int,
    smoothing: float,
    *,
    leave_one_out: bool,
    single_order: bool,
) -> Tensor:
    if not 1 <= n <= references.order:
        raise ValueError(f"BLEU-{n} was asked of references counted for n = 1 .. {references.order}")
    if not smoothing >= 0:
        raise ValueError(f"smoothing must be at least 0, not {smoothing}")
    device, B = hypotheses.tokens.device, len(hypotheses)
    home = references.lengths.device
    words = count_words(hypotheses, references.end).to(home)  # [B]
    found = references.index.find(hypotheses.tokens.to(home), words, n)
    matches = torch.stack(
        [
            _clipped(count(one, B), limits, B, leave_one_out)
            for one, limits in zip(found, references.limits, strict=False)
        ]
    ).double()  # [n, B]
    orders = torch.arange(n, device=home)[:, None]
    possible = (words - orders).clamp_min(1)  # [n, B]
    precision = torch.where(matches > 0, matches, smoothing) / possible
    if not single_order:
        precision = (precision.log().cumsum(0) / (orders + 1)).exp()
    closest = _closest_length(words, references, leave_one_out)
    brevity = torch.exp(1 - closest / words.clamp_min(1).double()).clamp_max(1)
    return torch.where(matches[0] > 0, brevity * precision, 0).float().to(device)


def _limits(counts: Counts, size: int) -> Limits:
    """The two largest counts of each n-gram, from all references' counts."""
    # sorted by n-gram, and within one by falling count: its first entry is the largest, its next the second
    top = int(counts.counts.max()) if len(counts.counts) else 0
    order = torch.argsort(counts.ids * (top + 1) + (top - counts.counts), stable=True)
    ids, rows, values = counts.ids[order], counts.rows[order], counts.counts[order]
    first = torch.searchsorted(ids, torch.arange(size, device=ids.device))  # [size]
    following = (first + 1).clamp_max(max(len(ids) - 1, 0))
    alone = (ids[following] != ids[first]) | (following == first)
    second = torch.where(alone, 0, values[following])
    return Limits(values[first].int(), rows[first].int(), second.int())


def _clipped(counts: Counts, limits: Limits, B: int, leave_one_out: bool) -> Tensor:
    """Matches of each hypothesis at one order, no n-gram counted more often than a reference has it: [B]."""
    most = limits.largest[counts.ids]
    if leave_one_out:
        most = torch.where(limits.owner[counts.ids] == counts.rows, limits.second[counts.ids], most)
    matched = torch.minimum(counts.counts, most.long())
    return torch.zeros(B, dtype=torch.int64, device=matched.device).index_add_(0, counts.rows, matched)


def _closest_length(words: Tensor, references: References, leave_one_out: bool) -> Tensor:
    """The reference length nearest to each hypothesis's, the shorter of two: [B] -> [B]."""
    lengths = references.lengths
    distance = 2 * (lengths - words[:, None]).abs() + (lengths > words[:, None]).long()  # [B, U], no ties
    if leave_one_out:
        own = (lengths == words[:, None]) & (references.length_counts == 1)
        own[len(references) :] = False  # those that are no reference themselves
        distance = distance.masked_fill(own, torch.iinfo(torch.int64).max)
    return lengths[distance.argmin(1)]
