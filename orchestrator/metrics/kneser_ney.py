"""An n-gram language model that is trained in a second: the forward and reverse LM scores need one.

Interpolated modified Kneser-Ney (Chen & Goodman 1999, https://doi.org/10.1006/csla.1999.0128, section 3):

    p_k(w|h) = max(0, c(hw) - D_k(c(hw))) / c(h.) + gamma(h) p_{k-1}(w|h'),    p_0 = 1/V
    gamma(h) = sum_i D_k(i) N_i(h.) / c(h.)           N_i(h.): continuations of h with count i; 3: or more
    D_k(1) = 1 - 2 Y n2/n1,  D_k(2) = 2 - 3 Y n3/n2,  D_k(3) = 3 - 4 Y n4/n3,     Y = n1 / (n1 + 2 n2)

h' is h without its first word. c counts occurrences at the highest order and for histories that reach back
to the start of the sequence, and below that the different words that precede. n_i is the number of k-grams
with c = i. Data too small for the discounts (a zero among n1 .. n4) take 0.5, 1 and 1.5. All counts of a
corpus are made at once, from the numbers that :class:`algorithms.ngrams.NGramIndex` gives its n-grams.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.ngrams import NGramIndex
from algorithms.types import Sequences

ORDER = 5
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts of counts 1, 2, and 3 or more, where the data are too few to estimate them."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What the model keeps of one order k; probabilities, in float64.

    Attributes:
        discounted: [grams of order k] max(0, c - D(c)) / c(h.)
        left: [grams of order k - 1] gamma(h), 1 where nothing was seen to follow h.
    """

    discounted: Tensor
    left: Tensor


class KneserNey:
    """A language model of one corpus.

    Args:
        sequences: the corpus, at least one sequence. Its rows' ``lengths`` count; where sequences end with an
            end symbol, that is one of the words. Without a word at all the model is uniform.
        vocabulary: V, the number of words that can occur, seen or not, the end symbol included.
        order: n, the longest n-gram.

    Raises:
        ValueError: an empty corpus.
    """

    def __init__(self, sequences: Sequences, vocabulary: int, order: int = ORDER) -> None:
        if not len(sequences):
            raise ValueError("a language model needs at least one sequence to learn from, got none")
        self.vocabulary, self.order = vocabulary, order
        tokens, lengths = _with_start(sequences)
        self._index, found = NGramIndex.build(tokens, lengths, order)
        B, T = tokens.shape
        start = int((self._index.keys[0] == _START).nonzero())
        counts = [torch.bincount(one.ids) for one in found]
        self._orders: list[_Order] = []
        for k in range(1, order + 1):
            own, size = found[k - 1], self._index.size(k)
            adjusted = counts[k - 1] if size else counts[k - 1].new_zeros(0)
            if k < order and size:
                place = torch.full((B, T), -1)
                place[own.rows, own.first] = own.ids
                longer = found[k]
                suffix = torch.empty(self._index.size(k + 1), dtype=torch.int64)
                suffix[longer.ids] = place[longer.rows, longer.first + 1]
                preceded = torch.bincount(suffix, minlength=size)
                opens = torch.zeros(size, dtype=torch.bool)  # reaches back to the start of a sequence
                opens[own.ids] = own.first == 0
                adjusted = torch.where(opens, adjusted, preceded)
            if k == 1:
                adjusted[start] = 0  # nothing predicts the start
                history = torch.zeros(size, dtype=torch.int64)
            else:
                history = self._index.keys[k - 1] // self._index.size(1)
            self._orders.append(_smoothed(adjusted, history, 1 if k == 1 else self._index.size(k - 1)))

    def log_prob(self, sequences: Sequences) -> Tensor:
        """Log-likelihood of each sequence, over all of its tokens: [B] float64, nats."""
        tokens, lengths = _with_start(sequences)
        B, T = tokens.shape
        probability = torch.full((B, T), 1.0 / self.vocabulary, dtype=torch.float64)
        before = torch.zeros(B, T, dtype=torch.int64)  # the empty history is known everywhere
        for k, (own, model) in enumerate(
            zip(self._index.find(tokens, lengths, self.order), self._orders, strict=True), 1
        ):
            place = torch.full((B, T), -1)  # by the position of the last token
            place[own.rows, own.first + k - 1] = own.ids
            known = before >= 0
            left = torch.where(known, model.left[before.clamp_min(0)], 1.0) if len(model.left) else 1.0
            seen = torch.zeros_like(probability)
            seen[place >= 0] = model.discounted[place[place >= 0]]
            probability = seen + left * probability
            before = torch.cat([torch.full((B, 1), -1), place[:, :-1]], 1)
        counted = (torch.arange(T) < lengths[:, None]) & (torch.arange(T) > 0)
        return torch.where(counted, probability, 1.0).log().sum(1)

    def nll(self, sequences: Sequences) -> float:
        """Negative log-likelihood, nats per token; nan without a token."""
        tokens = int(sequences.lengths.sum())
        return -self.log_prob(sequences).sum().item() / tokens if tokens else float("nan")


_START = -1
"""Fed before the first token; no word has this number."""


def _with_start(sequences: Sequences) -> tuple[Tensor, Tensor]:
    tokens = sequences.tokens.cpu().long()
    start = torch.full((len(tokens), 1), _START)
    return torch.cat([start, tokens], 1), sequences.lengths.cpu() + 1


def _smoothed(counts: Tensor, history: Tensor, histories: int) -> _Order:
    """Counts of the k-grams, with the history of each, as discounted probabilities and what is left."""
    n1, n2, n3, n4 = ((counts == i).sum().item() for i in (1, 2, 3, 4))
    discounts = torch.tensor([0.0, *FALLBACK], dtype=torch.float64)
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        estimated = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if all(0 <= value <= i for i, value in enumerate(estimated, 1)):
            discounts = torch.tensor([0.0, *estimated], dtype=torch.float64)
    taken = discounts[counts.clamp_max(3)]
    exact = counts.double()
    total = torch.zeros(histories, dtype=torch.float64).index_add_(0, history, exact)
    removed = torch.zeros_like(total).index_add_(0, history, taken)
    share = (exact - taken) / total[history].clamp_min(1)
    return _Order(share, torch.where(total > 0, removed / total.clamp_min(1), 1.0))
