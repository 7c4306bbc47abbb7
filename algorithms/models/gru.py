"""A language model with one layer of gated recurrent units: MaliGAN's generator for the Penn Treebank.

Cho et al. 2014 (https://arxiv.org/abs/1406.1078) for the units; Che et al. 2017, section 4.3, for the sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from algorithms.models.recurrent import RecurrentConfig, RecurrentGenerator
from algorithms.types import Alphabet, Source


@dataclass(frozen=True, slots=True)
class GRUState:
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


class GRUGenerator(RecurrentGenerator):
    """One GRU layer."""

    class Config(RecurrentConfig):
        name: Literal["gru"] = "gru"

        embedding: int = Field(200, ge=1, le=65_536)
        """Width of the token embedding."""

        hidden: int = Field(200, ge=1, le=65_536)
        """H, width of the recurrent state."""

        def build(self, alphabet: Alphabet, length: int) -> GRUGenerator:
            return GRUGenerator(self, alphabet, length)

    def __init__(self, config: Config, alphabet: Alphabet, length: int) -> None:
        super().__init__()
        V, H = alphabet.size, config.hidden
        self.embedding = nn.Parameter(torch.empty(V, config.embedding))
        self.layer = nn.GRU(config.embedding, H, batch_first=True)
        self.output = nn.Parameter(torch.empty(H, V))
        self.output_bias = nn.Parameter(torch.empty(V))
        self.settle(alphabet, length, config.init_std)

    def start(self, rows: int, source: Source | None = None) -> GRUState:
        return GRUState(self.output.new_zeros(rows, self.output.shape[0]))

    def step(self, state: GRUState, tokens: Tensor) -> tuple[Tensor, GRUState]:  # type: ignore[override]
        h = torch.gru_cell(self.embed(tokens), state.h, *self.layer.all_weights[0])
        return self.logits(h), GRUState(h)

    def prefix_states(self, tokens: Tensor, source: Source | None = None) -> list[GRUState]:  # type: ignore[override]
        return [GRUState(h) for h in self.outputs(tokens).unbind(1)]

    def outputs(self, tokens: Tensor) -> Tensor:
        h, _ = self.layer(self.embed(self.shifted(tokens)))
        return h
