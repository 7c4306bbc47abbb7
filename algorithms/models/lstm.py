"""A recurrent language model: SeqGAN's generator, and the oracle that made its synthetic data.

Yu et al. 2017, section 3 and the authors' code: one LSTM layer, one bias per gate, a linear softmax.
The loop is ours (``lstm_layer``) because a completion needs the cell state after every prefix, which
``torch.nn.LSTM`` does not return.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from algorithms.models.base import Generator
from algorithms.models.linear_log_prob import EXPONENTS
from algorithms.models.lstm_layer import lstm_layer
from algorithms.models.products import FEWEST
from algorithms.models.recurrent import RecurrentConfig, RecurrentGenerator
from algorithms.types import Alphabet, Source


@dataclass(frozen=True, slots=True)
class LSTMState:
    """h and c of R rows, [R, H] each."""

    h: Tensor
    c: Tensor

    def __len__(self) -> int:
        return len(self.h)

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.h[rows], self.c[rows])

    def join(self, others: Sequence[Self]) -> Self:
        every = (self, *others)
        return type(self)(torch.cat([one.h for one in every]), torch.cat([one.c for one in every]))

    @property
    def bytes_per_row(self) -> int:
        return 2 * self.h.shape[1] * self.h.element_size()


class LSTMGenerator(RecurrentGenerator):
    """One LSTM layer."""

    class Config(RecurrentConfig):
        name: Literal["lstm"] = "lstm"

        def build(self, alphabet: Alphabet, length: int) -> LSTMGenerator:
            return LSTMGenerator(self, alphabet, length)

    def __init__(self, config: Config, alphabet: Alphabet, length: int) -> None:
        super().__init__()
        V, H = alphabet.size, config.hidden
        self.embedding = nn.Parameter(torch.empty(V, config.embedding))
        self.input = nn.Parameter(torch.empty(config.embedding, 4 * H))  # gates in the order i, f, g, o
        self.recurrent = nn.Parameter(torch.empty(H, 4 * H))
        self.bias = nn.Parameter(torch.empty(4 * H))
        self.output = nn.Parameter(torch.empty(H, V))
        self.output_bias = nn.Parameter(torch.empty(V))
        self.settle(alphabet, length, config.init_std)

    def start(self, rows: int, source: Source | None = None) -> LSTMState:
        zeros = self.bias.new_zeros(rows, self.recurrent.shape[0])
        return LSTMState(zeros, zeros)

    def step(self, state: LSTMState, tokens: Tensor) -> tuple[Tensor, LSTMState]:  # type: ignore[override]
        state = self.read(state, tokens)
        return self.logits(state.h), state

    def read(self, state: LSTMState, tokens: Tensor) -> LSTMState:
        """The state after one more token."""
        gates = torch.addmm(self.bias, self.embed(tokens), self.input)
        return LSTMState(*self._cell(gates, state.h, state.c))

    def prefix_states(self, tokens: Tensor, source: Source | None = None) -> list[LSTMState]:  # type: ignore[override]
        h, c = self._unroll(tokens)
        return [LSTMState(h[:, t], c[:, t]) for t in range(tokens.shape[1])]

    def sampler(self) -> LSTMSampler:
        return LSTMSampler(self)

    def outputs(self, tokens: Tensor) -> Tensor:
        return self._unroll(tokens)[0]

    def _unroll(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        B, T = tokens.shape
        fed = self.shifted(tokens).t().flatten()
        gates = torch.addmm(self.bias, self.embed(fed), self.input).view(T, B, -1)
        h, c = lstm_layer(gates, self.recurrent)
        return h.transpose(0, 1), c.transpose(0, 1)  # [B, T, H] each

    def _cell(self, gates: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = torch.addmm(gates, h, self.recurrent).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class LSTMSampler(Generator):
    """An LSTM generator that draws: its last layer in the form that takes the fewest passes through memory.

    Weights are divided by log 2, so that a power of two is all that is left to do, and the bias is one more
    row of the matrix. The greatest logit need not be sought: |h| < 1, so that no logit exceeds the sum of a
    column's absolute weights. Where that sum could overflow, tokens are drawn as by any other generator.
    """

    @torch.no_grad()
    def __init__(self, G: LSTMGenerator) -> None:
        super().__init__()
        self.alphabet, self.length = G.alphabet, G.length
        self.G = G
        bias = G.output_bias.masked_fill(G.banned, -torch.inf)
        self._output = torch.cat([G.output, bias[None]]) / log(2)  # [H + 1, V]
        allowed = self._output[:, ~G.banned]
        self._bounded = bool(allowed.abs().sum(0).max() < EXPONENTS and G.alphabet.size >= FEWEST)

    def weigh(self, state: LSTMState, tokens: Tensor) -> tuple[Tensor, LSTMState]:  # type: ignore[override]
        if not self._bounded:
            return super().weigh(state, tokens)  # type: ignore[return-value]
        state = self.G.read(state, tokens)
        return torch.mm(pad(state.h, (0, 1), value=1.0), self._output).exp2_(), state

    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        return self.G.log_prob(tokens, source)

    def start(self, rows: int, source: Source | None = None) -> LSTMState:
        return self.G.start(rows, source)

    def step(self, state: LSTMState, tokens: Tensor) -> tuple[Tensor, LSTMState]:  # type: ignore[override]
        return self.G.step(state, tokens)

    def prefix_states(self, tokens: Tensor, source: Source | None = None) -> list[LSTMState]:  # type: ignore[override]
        return self.G.prefix_states(tokens, source)
