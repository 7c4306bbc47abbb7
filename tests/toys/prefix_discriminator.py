"""A discriminator that scores every prefix as well as the whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algorithms.models.base import Discriminator
from algorithms.types import Alphabet, Source


class ToyPrefixDiscriminator(Discriminator):
    """A GRU over the tokens; the logit of a prefix is read from the state after it.

    Past the end the state stands still, so that padding columns repeat the logit of the sequence itself.
    A source is read first, by the same GRU, where there is one.
    """

    def __init__(
        self, alphabet: Alphabet, source_symbols: int = 5, hidden: int = 8, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.alphabet = alphabet
        self.read = nn.Embedding(source_symbols, hidden)
        self.embedding = nn.Embedding(alphabet.size, hidden)
        self.cell = nn.GRUCell(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.7)

    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        return self.prefix_logits(tokens, source)[:, -1]

    def prefix_logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        x, mask = self.embedding(tokens), self.alphabet.mask(tokens)  # [B, T, H], [B, T]
        h = x.new_zeros(len(x), x.shape[2])
        if source is not None and source.tokens is not None:
            counted = torch.ones_like(source.tokens, dtype=torch.bool) if source.mask is None else source.mask
            h = self._run(self.read(source.tokens), counted, h)[-1]
        hs = torch.stack(self._run(x, mask, h), 1)  # [B, T, H]
        with torch.autocast(hs.device.type, enabled=False):
            return self.output(self.dropout(hs.to(x.dtype))).squeeze(2)

    def _run(self, x: Tensor, mask: Tensor, h: Tensor) -> list[Tensor]:
        hs = []
        for t in range(x.shape[1]):
            h = torch.where(mask[:, t, None], self.cell(x[:, t], h), h)
            hs.append(h)
        return hs
