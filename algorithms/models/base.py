"""The two protocols behind which every model stands: all that an algorithm or a worker may assume.

A generator is a state machine over tokens. ``start`` makes the state before the first token;
``step`` feeds one token and tells what may follow. The state of the prefix of length t has been fed
the start symbol and the tokens 1 .. t - 1: it is continued by feeding token t. That is why
``prefix_states(tokens)[t - 1]`` and ``tokens[:, t - 1]`` together are all that a completion needs.

Attention and recurrence differ only in what hides behind ``State``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, Self, TypeAlias

import torch
from torch import Tensor, nn

from algorithms.sampling import weigh
from algorithms.types import Alphabet, Rows, Sequences, Source, join_sequences


class State(Protocol):
    """What a generator remembers of R rows. Opaque to everyone else."""

    def __len__(self) -> int: ...

    def select(self, rows: Tensor) -> Self:
        """The states of some rows ([n] int64, repeats allowed); may share storage."""
        ...

    def join(self, others: Sequence[Self]) -> Self:
        """This state's rows, then those of each other state, in order."""
        ...

    @property
    def bytes_per_row(self) -> int:
        """Memory that one more row costs when it has grown to full length, for the rollouts' budget."""
        ...


class Generator(nn.Module):
    """A distribution over sequences that can be sampled from any prefix.

    Attributes:
        alphabet: the symbols.
        length: T, the longest sequence, the end symbol included.
        latent: Z, normal values that a worker draws as ``source.vector`` where no source is given.
        conditional: whether it answers the tokens of a source, and cannot do without.
    """

    alphabet: Alphabet
    length: int
    latent: int = 0
    conditional: bool = False

    @abstractmethod
    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        """log G(y_t | y_1:t-1) of each token: [B, T] -> [B, T], with gradient; 0 on padding."""

    def encode(self, source: Source) -> Source:
        """The sources with what this generator reads of them, which ``start`` then need not do; no gradient.

        This version has nothing to read.
        """
        return source

    @abstractmethod
    def start(self, rows: int, source: Source | None = None) -> State:
        """The state before the first token. Whatever encodes the source runs here, unless it was read."""

    @abstractmethod
    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Feeds one token a row ([R] int64): logits of the next token [R, V], and the new state."""

    def weigh(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """As ``step``, but instead of logits probabilities up to a factor of each row's own."""
        logits, state = self.step(state, tokens)
        return weigh(logits), state

    def sampler(self) -> Generator:
        """What draws many tokens, with the weights as they are now; ask again when they have changed.

        It is this generator itself, unless a model samples faster in another form of its weights.
        """
        return self

    def prefix_states(self, tokens: Tensor, source: Source | None = None) -> list[State]:
        """The T states of the prefixes of length 1 .. T of every row; see the module's docstring.

        This version takes T steps; a model that can do it in one pass overrides it.
        """
        state = self.start(len(tokens), source)
        states: list[State] = []
        fed = torch.full_like(tokens[:, 0], self.alphabet.start)
        for t in range(tokens.shape[1]):
            _, state = self.step(state, fed)
            states.append(state)
            fed = tokens[:, t]
        return states


class OneShotGenerator(Generator):
    """A generator that emits all positions at once, given a latent source. It cannot be continued."""

    @abstractmethod
    def relaxed(self, source: Source) -> Tensor:
        """Probabilities of every symbol at every position, with gradient: [B, T, V]."""

    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        """log G(y_t | z): [B, T] -> [B, T]. Given z only: the marginal over z is not defined here."""
        if source is None:
            raise ValueError(f"{type(self).__name__} needs a source to give a likelihood: pass the latent z")
        log_p = self.relaxed(source).clamp_min(torch.finfo(torch.float32).tiny).log()
        picked = log_p.gather(-1, tokens[..., None]).squeeze(-1)  # [B, T]
        return picked.masked_fill(~self.alphabet.mask(tokens), 0.0)

    def start(self, rows: int, source: Source | None = None) -> State:
        raise ValueError(_ONE_SHOT.format(name=type(self).__name__))

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        raise ValueError(_ONE_SHOT.format(name=type(self).__name__))


def relax(G: Generator, sequences: Sequences) -> Tensor:
    """The relaxed symbols of a generator for the latent sources of some sequences, with gradient: [B, T, V].

    Raises:
        ValueError: the generator has none.
    """
    if not isinstance(G, OneShotGenerator) or sequences.source is None:
        raise ValueError(f"{type(G).__name__} has no relaxed symbols that a gradient could go through")
    return G.relaxed(sequences.source)


_ONE_SHOT = (
    "{name} emits all positions at once and has no prefixes to continue: "
    "choose an algorithm without completions, or a generator that is sampled token by token"
)


Each: TypeAlias = Callable[[Callable[[Any], None], Iterable[Any]], Iterable[None]]
"""What calls a function of each of several things: ``map``, or that of an executor."""


class Scorer:
    """How many rows are judged without gradient, with a discriminator's weights as they were at ``refresh``.

    This one asks the discriminator, in float32. A model that shares work among the continuations of a
    prefix, or computes faster in another form of its weights, has one of its own.
    """

    def __init__(self, D: Discriminator) -> None:
        self._D = D

    def refresh(self, each: Each = map) -> None:
        """Takes the weights as they are now; nothing else notices that they have changed.

        Args:
            each: calls a function of each of several things, as ``map`` does; perhaps some at a time.
        """

    def read(self, sequences: Sequences) -> Tensor | None:
        """What is worth knowing of the prefixes of B sequences, for those who continue them: [B, ...]."""
        return None

    def logits(self, rows: Rows) -> Tensor:
        """[R] float32."""
        return self._D.logits(rows.sequences.tokens, rows.sequences.source).float()

    def prefix_logits(self, sequences: Sequences) -> Tensor:
        """Of every prefix as it stands: [R, T] float32."""
        return self._D.prefix_logits(sequences.tokens, sequences.source).float()


class Discriminator(nn.Module):
    """Tells real sequences from generated ones by a logit: log D - log(1 - D), never a probability.

    As a critic its value has no such meaning: real sequences have more of it than generated ones.

    Attributes:
        takes_relaxed: whether ``logits`` also takes relaxed symbols, floating point [B, T, V].
        scores_prefixes: whether it has ``prefix_logits``.
        reads_source: whether what a sequence answers enters its judgement.
    """

    takes_relaxed: bool = False
    scores_prefixes: bool = False
    reads_source: bool = False

    @abstractmethod
    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        """[B, T] int64 tokens, or relaxed [B, T, V] where the model says so -> [B].

        Of the parameters' own type, under ``torch.autocast`` too.
        """

    def judge(self, real: Sequences, fake: Sequences) -> tuple[Tensor, Tensor]:
        """Logits of real and generated sequences in one pass: [B_real], [B_fake]."""
        both = join_sequences([real, fake])
        logits = self.logits(both.tokens, both.source)
        return logits[: len(real)], logits[len(real) :]

    def scorer(self, table_bytes: int = 0) -> Scorer:
        """What scores many rows, with the weights as they are now; ``refresh`` it when they have changed.

        Args:
            table_bytes: memory that it may take for what can be worked out beforehand.
        """
        return Scorer(self)

    def prefix_logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        """One logit for every prefix, [B, T] -> [B, T], from those that score partial sequences.

        Columns past the end repeat the logit of the whole sequence.
        """
        raise ValueError(
            f"{type(self).__name__} scores whole sequences only: choose a discriminator that scores prefixes"
        )

    def regularization(self) -> Tensor:
        """The penalty on its own weights that its paper adds to the loss: a scalar, 0 by default."""
        return torch.zeros(())
