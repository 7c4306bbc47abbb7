"""Models that are tables: what they say about every sequence can be read off and summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from algorithms.models.base import Discriminator, Generator
from algorithms.types import Alphabet, Source


@dataclass(frozen=True, slots=True)
class NgramState:
    """The last n - 1 symbols that were fed to R rows, as one number each: [R] int64."""

    context: Tensor

    def __len__(self) -> int:
        return len(self.context)

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.context[rows])

    def join(self, others: Sequence[Self]) -> Self:
        return type(self)(torch.cat([self.context, *(other.context for other in others)]))

    @property
    def bytes_per_row(self) -> int:
        return self.context.element_size()


class NgramGenerator(Generator):
    """An explicit table of conditional probabilities: the next symbol given the last n - 1.

    Attributes:
        logits: [V ** (n - 1), V], by the number that the context spells in base V, the latest symbol in
            the lowest place. Before the sequence the context is filled with the start symbol.
    """

    def __init__(self, alphabet: Alphabet, length: int, n: int = 3, seed: int = 0) -> None:
        super().__init__()
        self.alphabet, self.length, self.n = alphabet, length, n
        rng = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(torch.randn(alphabet.size ** (n - 1), alphabet.size, generator=rng))

    @property
    def table(self) -> Tensor:
        """[V ** (n - 1), V] log-probabilities."""
        forbidden = torch.zeros(self.alphabet.size, dtype=torch.bool, device=self.logits.device)
        forbidden[list(self.alphabet.banned)] = True
        return self.logits.masked_fill(forbidden, -torch.inf).log_softmax(1)

    def start(self, rows: int, source: Source | None = None) -> NgramState:
        V = self.alphabet.size
        filled = sum(self.alphabet.start * V**place for place in range(self.n - 1))
        return NgramState(torch.full((rows,), filled, device=self.logits.device))

    def step(self, state: NgramState, tokens: Tensor) -> tuple[Tensor, NgramState]:  # type: ignore[override]
        V = self.alphabet.size
        context = (state.context * V + tokens) % V ** (self.n - 1)
        return self.table[context], NgramState(context)

    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        state, fed, contexts = self.start(len(tokens)), torch.full_like(tokens[:, 0], self.alphabet.start), []
        for t in range(tokens.shape[1]):
            _, state = self.step(state, fed)
            contexts.append(state.context)
            fed = tokens[:, t]
        context = torch.stack(contexts, 1)  # [B, T]
        return self.table[context, tokens].masked_fill(~self.alphabet.mask(tokens), 0.0)


class TabularDiscriminator(Discriminator):
    """An explicit logit for every sequence of length T; padding has no part in it.

    Attributes:
        table: [V ** T] logits, by the number that the sequence spells in base V, first symbol highest.
    """

    table: nn.Parameter

    def __init__(self, alphabet: Alphabet, length: int, seed: int = 0, std: float = 2.0) -> None:
        super().__init__()
        self.alphabet, self.length = alphabet, length
        rng = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(std * torch.randn(alphabet.size**length, generator=rng))

    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        if tokens.shape[1] != self.length:
            raise ValueError(f"the table is for sequences of length {self.length}, not {tokens.shape[1]}")
        counted = tokens.masked_fill(~self.alphabet.mask(tokens), self.alphabet.pad)
        places = self.alphabet.size ** torch.arange(self.length - 1, -1, -1, device=tokens.device)
        return self.table[(counted * places).sum(1)]
