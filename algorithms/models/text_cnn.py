"""The text CNN with a highway layer: SeqGAN's discriminator.

Yu et al. 2017, section 3 and appendix Table 5; Kim 2014 (arXiv 1408.5882) for the convolutions,
Srivastava et al. 2015 (arXiv 1505.00387) for the highway layer:

    c_w = max over positions of relu(window_w(x) W_w + b_w)
    tau = sigmoid(c W_T + b_T),   out = tau * relu(c W_H + b_H) + (1 - tau) * c

Departures: one logit instead of the authors' two-way softmax (the same family of functions), and
padding is embedded as zero and windows that lie wholly in padding do not compete in the maximum.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from algorithms.config import Frozen
from algorithms.models.base import Discriminator, Scorer
from algorithms.models.products import product
from algorithms.models.text_cnn_scorer import TextCNNScorer
from algorithms.models.window_maxima import window_maxima
from algorithms.types import Alphabet, Source

PAPER_FILTERS = (
    (1, 100), (2, 200), (3, 200), (4, 200), (5, 200), (6, 100), (7, 100), (8, 100), (9, 100), (10, 100),
    (15, 160), (20, 160),
)  # fmt: skip


class TextCNN(Discriminator):
    """Convolutions of several widths, maximum over time, one highway layer, one logit."""

    class Config(Frozen):
        name: Literal["text_cnn"] = "text_cnn"

        embedding: int = Field(64, ge=1, le=65_536)
        """Width of the token embedding, U(-1, 1) at the start."""

        filters: tuple[tuple[int, int], ...] = Field(PAPER_FILTERS, min_length=1)
        """Pairs (window width, number of filters). Widths beyond the sequence length are left out."""

        dropout: float = Field(0.25, ge=0, lt=1)
        """Share of features dropped before the output layer, in training only (the paper keeps 0.75)."""

        l2: float = Field(0.2, ge=0)
        """Weight of half the squared norm of the output layer, bias included, in the loss."""

        def build(self, alphabet: Alphabet, length: int) -> TextCNN:
            return TextCNN(self, alphabet, length)

    def __init__(self, config: Config, alphabet: Alphabet, length: int) -> None:
        super().__init__()
        self.alphabet, self.l2 = alphabet, config.l2
        filters = [(width, count) for width, count in config.filters if width <= length]
        if not filters or min(count for _, count in filters) < 1 or min(width for width, _ in filters) < 1:
            raise ValueError(
                f"discriminator.filters = {list(config.filters)} leaves no window for sequences of length "
                f"{length}: give at least one pair (width, count) with 1 <= width <= {length} and count >= 1"
            )
        self.embedding = nn.Embedding(alphabet.size, config.embedding)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding, count, width) for width, count in filters
        )
        features = sum(count for _, count in filters)
        self.gate = nn.Linear(features, features)
        self.transform = nn.Linear(features, features)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(features, 1)
        nn.init.uniform_(self.embedding.weight, -1, 1)
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            assert convolution.bias is not None
            nn.init.trunc_normal_(convolution.weight, std=0.1, a=-0.2, b=0.2)
            nn.init.constant_(convolution.bias, 0.1)
        for layer in (self.gate, self.transform, self.output):
            nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
        nn.init.zeros_(self.gate.bias)
        nn.init.zeros_(self.transform.bias)
        nn.init.constant_(self.output.bias, 0.1)

    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        x = self.embedding(tokens)  # [B, T, E]
        mask = None if self.alphabet.end is None else self.alphabet.mask(tokens)  # [B, T]
        if mask is not None:
            x = x * mask[..., None]
        maxima = window_maxima(x, [convolution.weight for convolution in self.filters()], mask)
        c = (maxima + self.biases()).relu()  # [B, features]; relu and maximum commute
        tau = torch.sigmoid(product(c, self.gate.weight.t(), self.gate.bias))
        transformed = product(c, self.transform.weight.t(), self.transform.bias)
        h = tau * torch.relu(transformed) + (1 - tau) * c
        with torch.autocast(h.device.type, enabled=False):  # a rounded logit would hide what a gradient needs
            return self.output(self.dropout(h)).squeeze(1)  # [B]

    def filters(self) -> list[nn.Conv1d]:
        """The convolutions, in the order of their features."""
        return [layer for layer in self.convolutions if isinstance(layer, nn.Conv1d)]

    def biases(self) -> Tensor:
        """Of all filters: [features]."""
        return torch.cat([layer.bias for layer in self.filters() if layer.bias is not None])

    def scorer(self, table_bytes: int = 0) -> Scorer:
        return TextCNNScorer(self, table_bytes)

    def regularization(self) -> Tensor:
        return self.l2 * 0.5 * (self.output.weight.square().sum() + self.output.bias.square().sum())
