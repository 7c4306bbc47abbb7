"""A recurrent encoder and decoder with attention: the generator of adversarial dialogue.

Li et al. 2017 (https://arxiv.org/abs/1701.06547), section 3.1 and the authors' code: LSTM layers on both
sides, parameters from U(-0.1, 0.1). What the attention is the paper does not say; here it is Luong et
al. 2015 (https://arxiv.org/abs/1508.04025), Eqs. 5 and 8, "general",
without feeding it back:

    a_s = softmax_s(h_t W_a e_s),  h~_t = tanh([h_t; sum_s a_s e_s] W_c),  G(.|y_<t, x) = softmax(h~_t W + b)

with the encoder's states e. The texts of a source are read one after the other, and the decoder goes on from
where the encoder ends. A state shares what was read of its source with all others that continue it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from algorithms.config import Frozen
from algorithms.models.base import Generator
from algorithms.models.linear_log_prob import linear_log_prob
from algorithms.models.lstm_layer import lstm_layer
from algorithms.models.products import product
from algorithms.models.sources import in_a_row
from algorithms.types import Alphabet, Source


@dataclass(frozen=True, slots=True)
class Memory:
    """What was read of B sources.

    Attributes:
        states: e, [B, S, H].
        lengths: [B], how many of them count.
    """

    states: Tensor
    lengths: Tensor


@dataclass(frozen=True, slots=True)
class AttentionState:
    """R rows: h and c of every layer, [R, L, H] each, and which source of the memory is theirs, [R]."""

    h: Tensor
    c: Tensor
    memory: Memory
    of: Tensor

    def __len__(self) -> int:
        return len(self.of)

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.h[rows], self.c[rows], self.memory, self.of[rows])

    def join(self, others: Sequence[Self]) -> Self:
        every = (self, *others)
        h, c = torch.cat([one.h for one in every]), torch.cat([one.c for one in every])
        # one memory in most cases: it is copied only where sources of different batches meet
        memories, places, begin = list({id(one.memory): one.memory for one in every}.values()), {}, 0
        for memory in memories:
            places[id(memory)], begin = begin, begin + len(memory.lengths)
        of = torch.cat([one.of + places[id(one.memory)] for one in every])
        if len(memories) == 1:
            return type(self)(h, c, self.memory, of)
        states, lengths = ([getattr(one, name) for one in memories] for name in ("states", "lengths"))
        return type(self)(h, c, Memory(torch.cat(states), torch.cat(lengths)), of)

    @property
    def bytes_per_row(self) -> int:
        return 2 * self.h[:1].numel() * self.h.element_size() + self.of.element_size()


class Seq2Seq(Generator):
    """Encoder, attention, decoder."""

    conditional = True

    class Config(Frozen):
        name: Literal["seq2seq"] = "seq2seq"

        embedding: int = Field(512, ge=1, le=65_536)
        """Width of the token embeddings."""

        hidden: int = Field(512, ge=1, le=65_536)
        """H, width of every layer."""

        layers: int = Field(2, ge=1, le=16)
        """Layers of the encoder, and as many of the decoder."""

        dropout: float = Field(0.2, ge=0, lt=1)
        """Share of what enters a layer or the softmax that is dropped, in training only."""

        init_range: float = Field(0.1, gt=0, le=10)
        """Every parameter starts as U(-init_range, init_range)."""

        def build(self, alphabet: Alphabet, length: int) -> Seq2Seq:
            return Seq2Seq(self, alphabet, length)

    banned: Tensor

    def __init__(self, config: Config, alphabet: Alphabet, length: int) -> None:
        super().__init__()
        self.alphabet, self.length = alphabet, length
        V, E, H = alphabet.size, config.embedding, config.hidden
        self.embedding = nn.Parameter(torch.empty(V, E))
        self.source_embedding = nn.Parameter(torch.empty(alphabet.source, E)) if alphabet.source else None
        widths = [E] + [H] * (config.layers - 1)
        self.encoder, self.decoder = (nn.ModuleList(_Layer(width, H) for width in widths) for _ in "ab")
        self.attention = nn.Parameter(torch.empty(H, H))
        self.combine = nn.Parameter(torch.empty(2 * H, H))
        self.output = nn.Parameter(torch.empty(H, V))
        self.output_bias = nn.Parameter(torch.empty(V))
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("banned", torch.zeros(V, dtype=torch.bool))
        self.banned[list(alphabet.banned)] = True
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -config.init_range, config.init_range)

    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        B, T = tokens.shape
        state = self.start(B, source)
        h, _ = self._unroll(tokens, state)
        seen = self._attend(h[-1].transpose(0, 1), state.memory).reshape(B * T, -1)
        banned = self.banned if self.alphabet.banned else None
        picked = linear_log_prob(
            self.dropout(seen), self.output, self.output_bias, tokens.flatten(), banned
        ).view(B, T)
        return picked.masked_fill(~self.alphabet.mask(tokens), 0.0)

    @torch.no_grad()
    def encode(self, source: Source) -> Source:
        """With e, h and c of every row side by side."""
        return replace(source, read=torch.cat([part.flatten(1) for part in self._encode(source)[:3]], 1))

    def start(self, rows: int, source: Source | None = None) -> AttentionState:
        if source is None or source.tokens is None:
            raise ValueError("Seq2Seq is conditional: give it a source with tokens (data.format=pairs)")
        if len(source) != rows:
            raise ValueError(f"{rows} rows need as many sources, not {len(source)}")
        if source.read is None:
            states, h, c, lengths = self._encode(source)
        else:
            H, ends = self.attention.shape[0], 2 * len(self.encoder)
            every = source.read.view(rows, -1, H)  # [B, S + 2 L, H]
            states, h, c = every[:, :-ends], *every[:, -ends:].chunk(2, 1)
            lengths = in_a_row(source)[1]
        of = torch.arange(rows, device=lengths.device)
        return AttentionState(h, c, Memory(states, lengths), of)

    def _encode(self, source: Source) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """e [B, S, H], h and c where each source ends [B, L, H], lengths [B]."""
        tokens, lengths = in_a_row(source)  # [B, S]
        embedding = self.embedding if self.source_embedding is None else self.source_embedding
        x = nn.functional.embedding(tokens.t(), embedding)  # [S, B, E]
        last = (lengths - 1).clamp_min(0)[None, :, None].expand(1, -1, self.attention.shape[0])
        ends = []
        for layer in self.encoder:
            h, c = layer(self.dropout(x))
            x = h
            ends.append([(part.gather(0, last)[0] * (lengths > 0)[:, None]) for part in (h, c)])
        first_h, first_c = (torch.stack(parts, 1) for parts in zip(*ends, strict=True))  # [B, L, H]
        return x.transpose(0, 1), first_h, first_c, lengths

    def step(self, state: AttentionState, tokens: Tensor) -> tuple[Tensor, AttentionState]:  # type: ignore[override]
        x, hs, cs = nn.functional.embedding(tokens, self.embedding), [], []
        for number, layer in enumerate(self.decoder):
            assert isinstance(layer, _Layer)
            x, c = layer.step(self.dropout(x), state.h[:, number], state.c[:, number])
            hs.append(x)
            cs.append(c)
        mine = Memory(state.memory.states[state.of], state.memory.lengths[state.of])
        seen = self._attend(x[:, None], mine)[:, 0]
        logits = product(self.dropout(seen), self.output, self.output_bias)
        if self.alphabet.banned:
            logits = logits.masked_fill(self.banned, -torch.inf)
        return logits, AttentionState(torch.stack(hs, 1), torch.stack(cs, 1), state.memory, state.of)

    def prefix_states(self, tokens: Tensor, source: Source | None = None) -> list[AttentionState]:  # type: ignore[override]
        state = self.start(len(tokens), source)
        h, c = (torch.stack(parts, 2) for parts in self._unroll(tokens, state))  # [T, B, L, H]
        return [AttentionState(h[t], c[t], state.memory, state.of) for t in range(tokens.shape[1])]

    def _unroll(self, tokens: Tensor, state: AttentionState) -> tuple[list[Tensor], list[Tensor]]:
        """h and c of every layer, the tokens before each position read: L times [T, B, H]."""
        start = torch.full_like(tokens[:, :1], self.alphabet.start)
        fed = torch.cat([start, tokens[:, :-1]], 1)
        x, hs, cs = nn.functional.embedding(fed.t(), self.embedding), [], []
        for number, layer in enumerate(self.decoder):
            assert isinstance(layer, _Layer)
            x, c = layer(self.dropout(x), state.h[:, number], state.c[:, number])
            hs.append(x)
            cs.append(c)
        return hs, cs

    def _attend(self, h: Tensor, memory: Memory) -> Tensor:
        """h~ of [B, T, H] queries, each row on its own source."""
        B, T, H = h.shape
        asked = torch.mm(h.reshape(B * T, H), self.attention).view(B, T, H)
        scores = torch.bmm(asked, memory.states.transpose(1, 2))  # [B, T, S]
        beyond = torch.arange(scores.shape[2], device=h.device) >= memory.lengths[:, None].clamp_min(1)
        shares = scores.masked_fill(beyond[:, None], -torch.inf).softmax(-1)
        seen = torch.cat([h, torch.bmm(shares, memory.states)], -1).view(B * T, 2 * H)
        return torch.mm(seen, self.combine).tanh().view(B, T, H)


class _Layer(nn.Module):
    """One LSTM layer, over a whole sequence or a step at a time; gates in the order i, f, g, o."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.empty(width, 4 * hidden))
        self.recurrent = nn.Parameter(torch.empty(hidden, 4 * hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))

    def forward(self, x: Tensor, h: Tensor | None = None, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[S, B, width] -> h and c after every step, [S, B, H] each."""
        S, B, width = x.shape
        gates = torch.addmm(self.bias, x.reshape(S * B, width), self.input).view(S, B, -1)
        return lstm_layer(gates, self.recurrent, h, c)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """[R, width] and the state before -> the state after."""
        gates = torch.addmm(self.bias, x, self.input)
        i, f, g, o = torch.addmm(gates, h, self.recurrent).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
