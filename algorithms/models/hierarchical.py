"""A discriminator of replies that reads word by word, then text by text: that of adversarial dialogue.

Li et al. 2017 (https://arxiv.org/abs/1701.06547), section 3.2 and the authors' code: an LSTM reads every
text, another of the same width reads where the first one ends, history first and reply last, and a linear
layer follows. Its two classes are one logit here. One word LSTM reads history and reply, as in the code.

A prefix of a reply is judged as if it were the reply: the second LSTM goes one step on from the history with
the first one's state after that prefix. So all prefixes cost hardly more than the whole.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from algorithms.config import Frozen
from algorithms.models.base import Discriminator
from algorithms.models.hierarchical_scorer import HierarchicalScorer
from algorithms.models.lstm_layer import lstm_layer
from algorithms.models.products import product
from algorithms.models.sources import utterances
from algorithms.types import Alphabet, Source


class Hierarchical(Discriminator):
    """Word LSTM, utterance LSTM, linear logit."""

    scores_prefixes = True
    reads_source = True

    class Config(Frozen):
        name: Literal["hierarchical"] = "hierarchical"

        embedding: int = Field(512, ge=1, le=65_536)
        """Width of the token embedding."""

        hidden: int = Field(512, ge=1, le=65_536)
        """Width of both LSTMs."""

        dropout: float = Field(0.2, ge=0, lt=1)
        """Share of what enters an LSTM or the logit that is dropped, in training only."""

        init_range: float = Field(0.1, gt=0, le=10)
        """Every parameter starts as U(-init_range, init_range)."""

        def build(self, alphabet: Alphabet, length: int) -> Hierarchical:
            return Hierarchical(self, alphabet, length)

    def __init__(self, config: Config, alphabet: Alphabet, length: int) -> None:
        super().__init__()
        self.alphabet = alphabet
        self.embedding = nn.Embedding(alphabet.size, config.embedding)
        self.source_embedding = nn.Embedding(alphabet.source, config.embedding) if alphabet.source else None
        self.words, self.texts = (_LSTM(width, config.hidden) for width in (config.embedding, config.hidden))
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, 1)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -config.init_range, config.init_range)

    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        h = self._read(tokens, self.embedding)  # [B, T, H]
        last = (self.alphabet.lengths(tokens) - 1)[:, None, None]
        return self._judge(h.gather(1, last.expand(-1, 1, h.shape[2])), source)[:, 0]

    def prefix_logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        h = self._read(tokens, self.embedding)
        last = (self.alphabet.lengths(tokens) - 1)[:, None]
        upto = torch.arange(tokens.shape[1], device=tokens.device).minimum(last)  # [B, T]
        return self._judge(h.gather(1, upto[..., None].expand_as(h)), source)

    def before_tokens(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        """A value for every token, of the history and the tokens before it alone: [B, T] -> [B, T]."""
        read = self._read(tokens, self.embedding)
        return self._judge(torch.cat([torch.zeros_like(read[:, :1]), read[:, :-1]], 1), source)

    def history(self, source: Source | None, rows: int) -> tuple[Tensor, Tensor]:
        """Where the second LSTM stands before the reply, zeros where nothing came before: [B, H] each."""
        h = c = self.output.weight.new_zeros(rows, self.texts.recurrent.shape[0])
        if source is None or source.tokens is None:
            return h, c
        tokens, mask = utterances(source)  # [B, U, S]
        B, U, S = tokens.shape
        table = self.embedding if self.source_embedding is None else self.source_embedding
        lengths = mask.sum(2)  # [B, U]
        states = self._read(tokens.flatten(0, 1), table).view(B, U, S, -1)
        last = (lengths - 1).clamp_min(0)[..., None, None].expand(-1, -1, 1, states.shape[3])
        ends = states.gather(2, last)[:, :, 0]  # [B, U, H]
        for u in range(U):
            there = (lengths[:, u] > 0)[:, None]
            moved = self.texts.step(self.dropout(ends[:, u]), h, c)
            h, c = (new.where(there, old) for new, old in zip(moved, (h, c), strict=True))
        return h, c

    def _read(self, tokens: Tensor, table: nn.Embedding) -> Tensor:
        """The word LSTM's h after every token: [B, T] -> [B, T, H]."""
        x = self.dropout(nn.functional.embedding(tokens.t(), table.weight))
        return self.words(x).transpose(0, 1)

    def _judge(self, read: Tensor, source: Source | None) -> Tensor:
        """Logits of what the word LSTM says of some prefixes of each reply: [B, n, H] -> [B, n]."""
        B, n, H = read.shape
        h, c = (part[:, None].expand(-1, n, -1).reshape(B * n, H) for part in self.history(source, B))
        ends, _ = self.texts.step(self.dropout(read).reshape(B * n, H), h, c)
        return product(self.dropout(ends), self.output.weight.t(), self.output.bias).view(B, n)

    def scorer(self, table_bytes: int = 0) -> HierarchicalScorer:
        return HierarchicalScorer(self, table_bytes)


class _LSTM(nn.Module):
    """One layer with gates in the order i, f, g, o; products may be rounded by autocast, states are not."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.empty(width, 4 * hidden))
        self.recurrent = nn.Parameter(torch.empty(hidden, 4 * hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, width] -> h after every step [T, B, H]."""
        T, B, width = x.shape
        gates = product(x.reshape(T * B, width), self.input, self.bias).view(T, B, -1)
        with torch.autocast(x.device.type, enabled=False):
            return lstm_layer(gates, self.recurrent)[0]

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """[R, width] and the state before -> the state after."""
        return self.move(product(x, self.input, self.bias), h, c)

    def move(self, gates: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The state after a step whose input says ``gates`` [R, 4 H]."""
        return cell(gates + product(h, self.recurrent), c)


def cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """h and c of an LSTM from all that enters its gates: [R, 4 H], [R, H] -> [R, H] each."""
    i, f, g, o = gates.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class CriticConfig(Frozen):
    """The same network as one of values: nothing is dropped, so that a value is a function of its tokens."""

    embedding: int = Field(512, ge=1, le=65_536)
    """Width of the token embedding."""

    hidden: int = Field(512, ge=1, le=65_536)
    """Width of both LSTMs."""

    init_range: float = Field(0.1, gt=0, le=10)
    """Every parameter starts as U(-init_range, init_range)."""

    def build(self, alphabet: Alphabet, length: int) -> Hierarchical:
        return Hierarchical.Config(dropout=0.0, **self.model_dump()).build(alphabet, length)
