"""A recurrent discriminator that reads both ways: MaliGAN's, with LSTM or GRU layers.

Che et al. 2017, sections 4.2 and 4.3: two layers of LSTM of width 32 for poems, one of GRU of width 200 for
the Penn Treebank. What it concludes from the states the paper does not say: here one linear logit follows the
last state of either direction of the last layer. Padding is not read.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from algorithms.config import Frozen
from algorithms.models.base import Discriminator
from algorithms.types import Alphabet, Source


class BiRNN(Discriminator):
    """Embedding, layers that read forward and backward, one logit from where either ends."""

    class Config(Frozen):
        name: Literal["bi_rnn"] = "bi_rnn"

        cell: Literal["lstm", "gru"] = "lstm"
        """The recurrent unit."""

        embedding: int = Field(32, ge=1, le=65_536)
        """Width of the token embedding."""

        hidden: int = Field(32, ge=1, le=65_536)
        """Width of each direction of each layer."""

        layers: int = Field(2, ge=1, le=16)
        """Layers, one upon the other."""

        dropout: float = Field(0.0, ge=0, lt=1)
        """Share of what the last layer says that is dropped before the logit, in training only."""

        def build(self, alphabet: Alphabet, length: int) -> BiRNN:
            return BiRNN(self, alphabet, length)

    def __init__(self, config: Config, alphabet: Alphabet, length: int) -> None:
        super().__init__()
        self.alphabet = alphabet
        self.embedding = nn.Embedding(alphabet.size, config.embedding)
        layer = {"lstm": nn.LSTM, "gru": nn.GRU}[config.cell]
        widths = [config.embedding] + [2 * config.hidden] * (config.layers - 1)
        self.forward_layers, self.backward_layers = (
            nn.ModuleList(layer(width, config.hidden, batch_first=True) for width in widths) for _ in "ab"
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(2 * config.hidden, 1)

    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        lengths = self.alphabet.lengths(tokens)  # [B]
        last = (lengths - 1)[:, None, None]  # [B, 1, 1]
        # each row turned around within its length, so that no padding comes first
        turned = (lengths[:, None] - 1 - torch.arange(tokens.shape[1], device=tokens.device)).clamp_min(0)
        x = nn.functional.embedding(tokens, self.embedding.weight)  # [B, T, E]
        # not rounded: not every processor has such a layer in bfloat16, and then torch raises
        with torch.autocast(x.device.type, enabled=False):
            for ahead, back in zip(self.forward_layers, self.backward_layers, strict=True):
                onward, _ = ahead(x)
                backward, _ = back(_at(x, turned))
                x = torch.cat([onward, _at(backward, turned)], -1)  # [B, T, 2H]
        ends = torch.cat([onward, backward], -1).gather(1, last.expand(-1, 1, x.shape[-1]))[:, 0]
        return self.output(self.dropout(ends)).squeeze(-1).to(self.output.weight.dtype)


def _at(x: Tensor, positions: Tensor) -> Tensor:
    """x [B, T, H] at other positions [B, T] of each row."""
    return x.gather(1, positions[..., None].expand(-1, -1, x.shape[-1]))
