"""The hierarchical discriminator as it scores: histories and prefixes are read once for all continuations.

What a token says to the gates is looked up in a table of [V, 4 H] where that fits the memory that is given. A
continuation goes on from the word LSTM's state after its prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import embedding

from algorithms.models.base import Each, Scorer
from algorithms.models.products import product
from algorithms.types import Rows, Sequences

if TYPE_CHECKING:
    from algorithms.models.hierarchical import Hierarchical


class HierarchicalScorer(Scorer):
    def __init__(self, D: Hierarchical, table_bytes: int) -> None:
        """
        Args:
            table_bytes: for what every token says to the gates.
        """
        super().__init__(D)
        self._net, self._table = D, None
        V, H = D.embedding.weight.shape[0], D.words.recurrent.shape[0]
        if V * 4 * H * D.words.input.element_size() <= table_bytes:
            self._table = D.words.input.new_empty(V, 4 * H)
        self.refresh()

    @torch.no_grad()
    def refresh(self, each: Each = map) -> None:
        if self._table is not None:
            words = self._net.words
            torch.addmm(words.bias, self._net.embedding.weight, words.input, out=self._table)

    def read(self, sequences: Sequences) -> Tensor:
        """h and c of the word LSTM after every prefix, from the empty one on, and behind them those of the
        history: [B, T + 2, 2 H]."""
        D, tokens = self._net, sequences.tokens
        B, T = tokens.shape
        h = c = D.output.weight.new_zeros(B, D.words.recurrent.shape[0])
        states = [torch.cat([h, c], 1)]
        for t in range(T):
            h, c = D.words.move(self._gates(tokens[:, t]), h, c)
            states.append(torch.cat([h, c], 1))
        states.append(torch.cat(D.history(sequences.source, B), 1))
        return torch.stack(states, 1)

    def logits(self, rows: Rows) -> Tensor:
        D, sequences, origin = self._net, rows.sequences, rows.origin
        R, T = sequences.tokens.shape
        if origin is None or origin.read is None:
            h = c = D.output.weight.new_zeros(R, D.words.recurrent.shape[0])
            shared, shortest = sequences.lengths.new_zeros(R), 0
            before: Sequence[Tensor] = D.history(sequences.source, R)
        else:
            shared, shortest = origin.shared.minimum(sequences.lengths), origin.shortest
            h, c = origin.read[origin.of, shared].tensor_split(2, 1)
            before = origin.read[origin.of, -1].tensor_split(2, 1)
        for t in range(shortest, T):
            reads = ((shared <= t) & (t < sequences.lengths))[:, None]
            moved = D.words.move(self._gates(sequences.tokens[:, t]), h, c)
            h, c = (new.where(reads, old) for new, old in zip(moved, (h, c), strict=True))
        ends, _ = D.texts.step(h, *before)
        return product(ends, D.output.weight.t(), D.output.bias).squeeze(1).float()

    def _gates(self, tokens: Tensor) -> Tensor:
        """What tokens say to the gates of the word LSTM: [R] -> [R, 4 H]."""
        if self._table is not None:
            return embedding(tokens, self._table)
        words = self._net.words
        return product(embedding(tokens, self._net.embedding.weight), words.input, words.bias)
