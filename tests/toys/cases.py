"""The generators that the contract tests are tried on: the shipped ones, and one toy of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from algorithms.models.base import Generator, State
from algorithms.models.gru import GRUGenerator
from algorithms.models.lstm import LSTMGenerator
from algorithms.models.residual_conv import ResidualConvGenerator
from algorithms.models.seq2seq import Seq2Seq
from algorithms.types import Alphabet, Source
from toys.enumeration import all_sequences
from toys.one_shot import ToyOneShot
from toys.seq2seq import ToySeq2Seq
from toys.tabular import NgramGenerator
from toys.transformer import ToyTransformer

T = 4
# the padding is banned and is not the start symbol, so that a confusion of the two shows
VARIABLE = Alphabet(size=5, start=0, end=1, pad=2, banned=(0, 2))
FIXED = Alphabet(size=3)
ALPHABETS = {"variable": VARIABLE, "fixed": FIXED}


@dataclass(frozen=True)
class Case:
    """How to build a generator, and a condition for a number of rows."""

    build: Callable[[Alphabet], Generator]
    source: Callable[[int], Source | None] = lambda rows: None


def texts(rows: int) -> Source:
    """Different sources with different padding: [rows, 3] symbols below 5, one to three of them real."""
    number = torch.arange(rows)
    tokens = torch.stack([number % 5, number // 5 % 5, (number + 2) % 5], 1)
    return Source(tokens, torch.arange(3) < 1 + (number % 3)[:, None])


def dialogues(rows: int) -> Source:
    """Two utterances each, the first of which may be missing: [rows, 2, 3] symbols below 5."""
    number = torch.arange(rows)
    tokens = torch.stack([(number + s * (u + 2)) % 5 for u in range(2) for s in range(3)], 1).view(-1, 2, 3)
    lengths = torch.stack([number % 4, 1 + number // 4 % 3], 1)
    return Source(tokens, torch.arange(3) < lengths[..., None])


def latents(rows: int) -> Source:
    return Source(vector=torch.randn(rows, 3, generator=torch.Generator().manual_seed(3)))


def lstm(alphabet: Alphabet) -> LSTMGenerator:
    return LSTMGenerator.Config(embedding=4, hidden=6, init_std=0.7).build(alphabet, T)


def gru(alphabet: Alphabet) -> GRUGenerator:
    return GRUGenerator.Config(embedding=4, hidden=6, init_std=0.7).build(alphabet, T)


def attention(alphabet: Alphabet) -> Seq2Seq:
    config = Seq2Seq.Config(embedding=4, hidden=6, dropout=0.0, init_range=1.2)
    return config.build(replace(alphabet, source=5), T)


STEPPED = {
    "lstm": Case(lstm),
    "gru": Case(gru),
    "ngram": Case(lambda alphabet: NgramGenerator(alphabet, T)),
    "transformer": Case(lambda alphabet: ToyTransformer(alphabet, T)),
    "seq2seq": Case(lambda alphabet: ToySeq2Seq(alphabet, T), texts),
    "attention": Case(attention, texts),
    "attention_dialogue": Case(attention, dialogues),
    "transformer_seq2seq": Case(lambda alphabet: ToyTransformer(alphabet, T, source_symbols=5), texts),
}


def residual_conv(alphabet: Alphabet) -> ResidualConvGenerator:
    return ResidualConvGenerator.Config(latent=3, dim=6, blocks=2, width=3).build(alphabet, T)


ONE_SHOT = {
    "one_shot": Case(lambda alphabet: ToyOneShot(alphabet, T), latents),
    "residual_conv": Case(residual_conv, latents),
}
EVERY = STEPPED | ONE_SHOT
CONDITIONAL = [name for name, case in EVERY.items() if case.source(1) is not None]


def make(name: str, alphabet: Alphabet) -> tuple[Generator, Tensor, Source | None]:
    """The generator, every sequence that its alphabet allows, and a condition for each."""
    torch.manual_seed(7)
    tokens = all_sequences(alphabet, T)
    return EVERY[name].build(alphabet), tokens, EVERY[name].source(len(tokens))


def next_log_probs(G: Generator, state: State, fed: Tensor) -> Tensor:
    """log-probabilities of what follows when a token is fed to every row: [R] -> [R, V]."""
    return G.step(state, fed)[0].log_softmax(-1)


def stepwise(G: Generator, tokens: Tensor, source: Source | None) -> Tensor:
    """log-probabilities [B, T, V] of every next symbol, by stepping from the start."""
    state, fed, columns = G.start(len(tokens), source), torch.full_like(tokens[:, 0], G.alphabet.start), []
    for t in range(tokens.shape[1]):
        logits, state = G.step(state, fed)
        columns.append(logits.log_softmax(-1))
        fed = tokens[:, t]
    return torch.stack(columns, 1)
