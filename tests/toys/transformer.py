"""A Transformer with a key-value cache: what many rows share is kept once, what each added is its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from algorithms.models.base import Generator
from algorithms.types import Alphabet, Source


@dataclass(frozen=True, slots=True)
class Memory:
    """Keys and values that rows read and never write; L layers, M entries, P columns.

    Attributes:
        keys, values: [L, M, P, H].
        mask: [M, P] bool, false on the padding of a source.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class CachedState:
    """R rows: each reads the first columns of one entry of the memory, then its own suffix.

    Attributes:
        memory: shared; selecting rows does not copy it.
        entry: [R] int64, which entry of the memory.
        prefix: [R] int64, how many of its columns.
        keys, values: [L, R, C, H], the suffixes, filled from the left.
        suffix: [R] int64, how many columns of these count.
        fed: [R] int64, tokens fed so far; the position of the next one.
        capacity: columns that a suffix may grow to.
    """

    memory: Memory
    entry: Tensor
    prefix: Tensor
    keys: Tensor
    values: Tensor
    suffix: Tensor
    fed: Tensor
    capacity: int

    def __len__(self) -> int:
        return len(self.entry)

    def select(self, rows: Tensor) -> Self:
        own = (self.keys[:, rows], self.values[:, rows], self.suffix[rows], self.fed[rows])
        return type(self)(self.memory, self.entry[rows], self.prefix[rows], *own, self.capacity)

    def join(self, others: Sequence[Self]) -> Self:
        every = (self, *others)
        memories: list[Memory] = []
        shifts = []  # where each part's entries begin in the joined memory
        for one in every:
            if not any(one.memory is known for known in memories):
                memories.append(one.memory)
            at = next(i for i, known in enumerate(memories) if known is one.memory)
            shifts.append(sum(len(known.mask) for known in memories[:at]))
        widest = max(one.keys.shape[2] for one in every)

        def grown(cache: Tensor) -> Tensor:
            return pad(cache, (0, 0, 0, widest - cache.shape[2]))

        return type(self)(
            _join_memories(memories),
            torch.cat([one.entry + shift for one, shift in zip(every, shifts, strict=True)]),
            torch.cat([one.prefix for one in every]),
            torch.cat([grown(one.keys) for one in every], 1),
            torch.cat([grown(one.values) for one in every], 1),
            torch.cat([one.suffix for one in every]),
            torch.cat([one.fed for one in every]),
            max(one.capacity for one in every),
        )

    @property
    def bytes_per_row(self) -> int:
        """A suffix that has grown to the end, and four numbers; the memory is there already."""
        L, _, _, H = self.keys.shape
        return 2 * L * self.capacity * H * self.keys.element_size() + 4 * self.entry.element_size()


class ToyTransformer(Generator):
    """Two layers, one head, learned positions. A source, if any, stands before the sequence as a prefix."""

    def __init__(
        self,
        alphabet: Alphabet,
        length: int,
        source_symbols: int = 0,
        source_length: int = 8,
        hidden: int = 8,
    ) -> None:
        super().__init__()
        self.alphabet, self.length, self.conditional = alphabet, length, source_symbols > 0
        self.read = nn.Embedding(source_symbols, hidden) if source_symbols else None
        self.embedding = nn.Embedding(alphabet.size, hidden)
        self.source_position = nn.Parameter(torch.empty(source_length, hidden)) if source_symbols else None
        self.position = nn.Parameter(torch.empty(length, hidden))
        self.attention = nn.ModuleList(nn.Linear(hidden, 3 * hidden) for _ in range(2))
        self.feed = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))
            for _ in range(2)
        )
        self.output = nn.Linear(hidden, alphabet.size)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5)
        self.banned = list(alphabet.banned)

    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        x, _, columns = self._pass(tokens, source)
        log_p = self._logits(x[:, columns:]).log_softmax(-1)  # [B, T, V]
        picked = log_p.gather(-1, tokens[..., None]).squeeze(-1)  # [B, T]
        return picked.masked_fill(~self.alphabet.mask(tokens), 0.0)

    def start(self, rows: int, source: Source | None = None) -> CachedState:
        _, memory, columns = self._pass(self.output.weight.new_empty(rows, 0).long(), source)
        return self._branch(memory, columns, 0)

    def prefix_states(self, tokens: Tensor, source: Source | None = None) -> list[CachedState]:  # type: ignore[override]
        _, memory, columns = self._pass(tokens, source)
        return [self._branch(memory, columns + t, t) for t in range(1, tokens.shape[1] + 1)]

    def step(self, state: CachedState, tokens: Tensor) -> tuple[Tensor, CachedState]:  # type: ignore[override]
        memory, R = state.memory, len(state)
        x = self.embedding(tokens) + self.position[state.fed]  # [R, H]
        shared = torch.arange(memory.mask.shape[1], device=x.device) < state.prefix[:, None]
        seen = torch.cat([
            shared & memory.mask[state.entry],
            torch.arange(state.keys.shape[2] + 1, device=x.device) <= state.suffix[:, None],
        ], 1)  # [R, P + C + 1]  # fmt: skip
        rows = torch.arange(R, device=x.device)
        all_keys, all_values = [], []
        for layer, feed in enumerate(self.feed):
            q, k, v = self.attention[layer](_norm(x)).chunk(3, -1)
            keys, values = pad(state.keys[layer], (0, 0, 0, 1)), pad(state.values[layer], (0, 0, 0, 1))
            keys, values = keys.index_put((rows, state.suffix), k), values.index_put((rows, state.suffix), v)
            K = torch.cat([memory.keys[layer][state.entry], keys], 1)  # [R, P + C + 1, H]
            values_seen = torch.cat([memory.values[layer][state.entry], values], 1)
            x = x + _attend(q[:, None], K, values_seen, seen[:, None])[:, 0]
            x = x + feed(_norm(x))
            all_keys.append(keys)
            all_values.append(values)
        grown = (torch.stack(all_keys), torch.stack(all_values), state.suffix + 1, state.fed + 1)
        return self._logits(x), CachedState(memory, state.entry, state.prefix, *grown, state.capacity)

    def _pass(self, tokens: Tensor, source: Source | None) -> tuple[Tensor, Memory, int]:
        """One teacher-forced pass over source and tokens: outputs [B, S + T, H], its cache, and S."""
        B, T = tokens.shape
        fed = torch.cat([torch.full_like(tokens[:, :1], self.alphabet.start), tokens[:, :-1]], 1)
        x = self.embedding(fed) + self.position[:T]
        counts = torch.ones(B, T, dtype=torch.bool, device=tokens.device)
        S = 0
        if self.read is not None and self.source_position is not None:
            if source is None or source.tokens is None:
                raise ValueError("this ToyTransformer is conditional: give it a source with tokens")
            S = source.tokens.shape[1]
            mask = torch.ones_like(source.tokens, dtype=torch.bool) if source.mask is None else source.mask
            x = torch.cat([self.read(source.tokens) + self.source_position[:S], x], 1)
            counts = torch.cat([mask, counts], 1)
        row, column = torch.arange(S + T, device=x.device)[:, None], torch.arange(S + T, device=x.device)
        # the source reads all of itself, a token what came before, padding itself (else its softmax is nan)
        seen = (column < S) | (column <= row)
        seen = (seen & counts[:, None]) | (row == column)  # [B, S + T, S + T]
        keys, values = [], []
        for layer, feed in enumerate(self.feed):
            q, k, v = self.attention[layer](_norm(x)).chunk(3, -1)
            x = x + _attend(q, k, v, seen)
            x = x + feed(_norm(x))
            keys.append(k)
            values.append(v)
        return x, Memory(torch.stack(keys), torch.stack(values), counts), S

    def _branch(self, memory: Memory, columns: int, fed: int) -> CachedState:
        """One row for every entry of the memory, with an empty suffix."""
        L, B, _, H = memory.keys.shape
        entry = torch.arange(B, device=memory.mask.device)
        empty = memory.keys.new_empty(L, B, 0, H)
        none, prefix, before = (
            torch.zeros_like(entry),
            torch.full_like(entry, columns),
            torch.full_like(entry, fed),
        )
        return CachedState(memory, entry, prefix, empty, empty, none, before, self.length)

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(_norm(x))
        forbidden = torch.zeros(self.alphabet.size, dtype=torch.bool, device=x.device)
        forbidden[self.banned] = True
        return logits.masked_fill(forbidden, -torch.inf)


def _attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    scores = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).masked_fill(~seen, -torch.inf)
    return scores.softmax(-1) @ v


def _norm(x: Tensor) -> Tensor:
    return nn.functional.layer_norm(x, x.shape[-1:])


def _join_memories(memories: list[Memory]) -> Memory:
    """The entries of several memories, in order; a single one is kept as it is."""
    if len(memories) == 1:
        return memories[0]
    widest = max(one.mask.shape[1] for one in memories)
    return Memory(
        torch.cat([pad(one.keys, (0, 0, 0, widest - one.keys.shape[2])) for one in memories], 1),
        torch.cat([pad(one.values, (0, 0, 0, widest - one.values.shape[2])) for one in memories], 1),
        torch.cat([pad(one.mask, (0, widest - one.mask.shape[1])) for one in memories]),
    )
