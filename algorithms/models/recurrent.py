"""What recurrent language models share: tokens fed shifted by one, a linear softmax over states."""

from __future__ import annotations

from abc import abstractmethod

import torch
from pydantic import Field
from torch import Tensor, nn

from algorithms.config import Frozen
from algorithms.models.base import Generator
from algorithms.models.linear_log_prob import linear_log_prob
from algorithms.models.products import product
from algorithms.types import Alphabet, Source


class RecurrentConfig(Frozen):
    """Sizes; each model has its paper's defaults."""

    embedding: int = Field(32, ge=1, le=65_536)
    """Width of the token embedding."""

    hidden: int = Field(32, ge=1, le=65_536)
    """H, width of the recurrent state."""

    init_std: float = Field(0.1, gt=0, le=10)
    """Every parameter starts as N(0, init_std)."""


class RecurrentGenerator(Generator):
    """Embedding, a recurrence, linear softmax. Unconditional.

    A model makes its parameters, in whatever order, and then calls ``settle``.
    """

    embedding: Tensor
    output: Tensor
    output_bias: Tensor
    banned: Tensor

    def settle(self, alphabet: Alphabet, length: int, init_std: float) -> None:
        """The rest of the constructor: what may not be emitted, and random parameters."""
        self.alphabet, self.length = alphabet, length
        self.register_buffer("banned", torch.zeros(alphabet.size, dtype=torch.bool))
        self.banned[list(alphabet.banned)] = True
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=init_std)

    @abstractmethod
    def outputs(self, tokens: Tensor) -> Tensor:
        """What the softmax sees at every position, the tokens before it read: [B, T] -> [B, T, H]."""

    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        B, T = tokens.shape
        banned = self.banned if self.alphabet.banned else None
        h = self.outputs(tokens).reshape(B * T, -1)
        picked = linear_log_prob(h, self.output, self.output_bias, tokens.flatten(), banned)
        return picked.view(B, T).masked_fill(~self.alphabet.mask(tokens), 0.0)

    def shifted(self, tokens: Tensor) -> Tensor:
        """The tokens as they are fed: shifted right, the start symbol first; [B, T]."""
        start = torch.full_like(tokens[:, :1], self.alphabet.start)
        return torch.cat([start, tokens[:, :-1]], 1)

    def embed(self, tokens: Tensor) -> Tensor:
        """[...] -> [..., E]."""
        # not by indexing: its backward pass adds in parallel, in an order that differs from run to run
        return nn.functional.embedding(tokens, self.embedding)

    def logits(self, h: Tensor) -> Tensor:
        """[R, H] -> [R, V]."""
        logits = product(h, self.output, self.output_bias)
        return logits.masked_fill(self.banned, -torch.inf) if self.alphabet.banned else logits
