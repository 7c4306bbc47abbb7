"""A conditional generator without attention: the source is encoded once, into the first state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from algorithms.models.base import Generator
from algorithms.types import Alphabet, Source


@dataclass(frozen=True, slots=True)
class RecurrentState:
    """h of R rows, [R, H]."""

    h: Tensor

    def __len__(self) -> int:
        return len(self.h)

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.h[rows])

    def join(self, others: Sequence[Self]) -> Self:
        return type(self)(torch.cat([self.h, *(other.h for other in others)]))

    @property
    def bytes_per_row(self) -> int:
        return self.h.shape[1] * self.h.element_size()


class ToySeq2Seq(Generator):
    """A GRU reads ``source.tokens`` and stands still on padding; a GRU cell goes on from there."""

    forbidden: Tensor

    def __init__(self, alphabet: Alphabet, length: int, source_symbols: int = 5, hidden: int = 8) -> None:
        super().__init__()
        self.alphabet, self.length = alphabet, length
        self.read = nn.Embedding(source_symbols, hidden)
        self.embedding = nn.Embedding(alphabet.size, hidden)
        self.encoder = nn.GRUCell(hidden, hidden)
        self.decoder = nn.GRUCell(hidden, hidden)
        self.output = nn.Linear(hidden, alphabet.size)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.7)
        self.register_buffer("forbidden", torch.zeros(alphabet.size))
        self.forbidden[list(alphabet.banned)] = -torch.inf

    def start(self, rows: int, source: Source | None = None) -> RecurrentState:
        if source is None or source.tokens is None:
            raise ValueError("ToySeq2Seq is conditional: give it a source with tokens")
        if len(source) != rows:
            raise ValueError(f"{rows} rows need as many sources, not {len(source)}")
        mask = torch.ones_like(source.tokens, dtype=torch.bool) if source.mask is None else source.mask
        x = self.read(source.tokens)  # [R, S, H]
        h = x.new_zeros(rows, x.shape[2])
        for s in range(x.shape[1]):
            h = torch.where(mask[:, s, None], self.encoder(x[:, s], h), h)
        return RecurrentState(h)

    def step(self, state: RecurrentState, tokens: Tensor) -> tuple[Tensor, RecurrentState]:  # type: ignore[override]
        h = self.decoder(self.embedding(tokens), state.h)
        return self.output(h) + self.forbidden, RecurrentState(h)

    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        state, fed, logits = (
            self.start(len(tokens), source),
            torch.full_like(tokens[:, 0], self.alphabet.start),
            [],
        )
        for t in range(tokens.shape[1]):
            logit, state = self.step(state, fed)
            logits.append(logit)
            fed = tokens[:, t]
        log_p = torch.stack(logits, 1).log_softmax(-1)  # [B, T, V]
        picked = log_p.gather(-1, tokens[..., None]).squeeze(-1)  # [B, T]
        return picked.masked_fill(~self.alphabet.mask(tokens), 0.0)
