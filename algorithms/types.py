"""What crosses a boundary, and the letters that name its dimensions.

One legend for the whole repository; a shape stands at the end of the line that makes a tensor:

    B  sequences in a batch          T  positions of a sequence      V  symbols of the alphabet
    N  completions of one prefix     K  named scores                 R  rows that advance together
    S  positions of a source         Z  values of a latent source    H  hidden width
    F  filters of one width          E  width of an embedding        W  windows of one width
    U  utterances of a source        L  layers of a network

Time is counted in tokens: the prefix of length t is ``tokens[:, :t]`` and the credit of token t
(t = 1 .. T) stands in column t - 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The symbols that a generator may emit, and those with a meaning of their own.

    Made by the data; read by models and rollouts.

    Attributes:
        size: V.
        start: fed before the first token; never part of a sequence.
        end: after it everything is ``pad``; None where every sequence has full length.
        pad: fills the positions after the end.
        banned: never emitted (probability zero).
        source: symbols in which conditions are written, if it is another alphabet; 0: the same one.
    """

    size: int
    start: int = 0
    end: int | None = None
    pad: int = 0
    banned: tuple[int, ...] = ()
    source: int = 0

    def lengths(self, tokens: Tensor) -> Tensor:
        """Tokens that count in each row, the end symbol included: [B, T] -> [B] int64."""
        T = tokens.shape[1]
        if self.end is None:
            return torch.full((len(tokens),), T, dtype=torch.int64, device=tokens.device)
        ended = (tokens == self.end).long()
        first = torch.where(ended.any(1), ended.argmax(1), T - 1)
        return first + 1

    def mask(self, tokens: Tensor) -> Tensor:
        """True on tokens that count, false on padding: [B, T] -> [B, T] bool."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return positions < self.lengths(tokens)[:, None]

    def emitted(self, tokens: Tensor) -> Tensor:
        """True on tokens that a generator may emit: neither padding nor banned; [B, T] -> [B, T] bool."""
        banned = torch.tensor(self.banned, dtype=torch.int64, device=tokens.device)
        return self.mask(tokens) & ~torch.isin(tokens, banned)


@dataclass(frozen=True, slots=True)
class Source:
    """The condition of a batch; None stands where there is none.

    Attributes:
        tokens: [B, S] one text, or [B, U, S] several utterances, the latest last; int64.
        mask: same shape as ``tokens``, true on tokens that count.
        vector: [B, Z] real values, such as a latent z.
        read: [B, ...] what a generator has read of it (``Generator.encode``), once for all uses.
    """

    tokens: Tensor | None = None
    mask: Tensor | None = None
    vector: Tensor | None = None
    read: Tensor | None = None

    def __len__(self) -> int:
        part = self.vector if self.tokens is None else self.tokens
        return 0 if part is None else len(part)

    def select(self, rows: Tensor | slice) -> Source:
        """The conditions of some rows, in their order; a row may occur several times."""
        return Source(*(None if part is None else part[rows] for part in self._parts()))

    def to(self, device: torch.device) -> Source:
        """The same on a device."""
        return Source(*(None if part is None else part.to(device) for part in self._parts()))

    def _parts(self) -> tuple[Tensor | None, ...]:
        return self.tokens, self.mask, self.vector, self.read


@dataclass(frozen=True, slots=True)
class Sequences:
    """A batch of sequences, real or generated.

    Attributes:
        tokens: [B, T] int64; after the end everything is padding.
        lengths: [B] int64, tokens that count, the end symbol included.
        source: the condition of each row, or None.
    """

    tokens: Tensor
    lengths: Tensor
    source: Source | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def mask(self) -> Tensor:
        """[B, T] bool, true on tokens that count."""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device) < self.lengths[:, None]

    def select(self, rows: Tensor | slice) -> Sequences:
        """Some rows, in their order."""
        source = None if self.source is None else self.source.select(rows)
        return Sequences(self.tokens[rows], self.lengths[rows], source)

    def to(self, device: torch.device) -> Sequences:
        """The same on a device."""
        source = None if self.source is None else self.source.to(device)
        return Sequences(self.tokens.to(device), self.lengths.to(device), source)


Precision = Literal["fp32", "bf16"]
"""In what scores are computed: float32, or matrix products of bfloat16 with sums in float32."""

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


@dataclass(frozen=True, slots=True)
class Origin:
    """What R sequences are continuations of.

    Attributes:
        read: [B, ...] what a scorer has read of B sequences (``Scorer.read``), or None.
        of: [R] int64, which of the B each one continues.
        shared: [R] int64, the length of the prefix that both have; T where it is the sequence itself.
        shortest: no entry of ``shared`` is smaller; a number on the host, so that nobody waits for a device.
    """

    read: Tensor | None
    of: Tensor
    shared: Tensor
    shortest: int = 0

    def select(self, rows: Tensor, shortest: int) -> Origin:
        """That of some rows, in their order."""
        return Origin(self.read, self.of[rows], self.shared[rows], shortest)


@dataclass(frozen=True, slots=True)
class Rows:
    """Whole sequences that are to be scored; R of them.

    Attributes:
        sequences: [R].
        origin: what they continue, where a scorer may use that; None: nothing is known.
        precision: of the computation.
    """

    sequences: Sequences
    origin: Origin | None = None
    precision: Precision = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """What an algorithm needs from the workers, as data: it names no paper.

    Attributes:
        samples: sequences sampled per prompt.
        completions: N, Monte Carlo completions of each prefix; 0 scores whole sequences only.
        prefixes: whether every prefix is scored as it stands, instead of its completions.
        clamp: leading tokens copied from the real sequence instead of sampled.
        scores: names in ``algorithms.scores``; K of them.
        precision: of the scores; the trainer fills in what the run has settled on.
        delayed: whether the rollout policy draws the sequences, not the generator.
        drawn: whether there are tokens; False: latent sources alone, all else is padding, for losses that go
            through the generator's relaxed symbols.
    """

    samples: int = 1
    completions: int = 0
    prefixes: bool = False
    clamp: int = 0
    scores: tuple[str, ...] = ("logit",)
    precision: Precision = "fp32"
    delayed: bool = False
    drawn: bool = True


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Sampled sequences and what was thought of them. Made by ``workers.rollout``, eaten by losses.

    Attributes:
        sequences: B sampled sequences.
        log_prob: [B, T] log-probability of each token under the policy that drew it; 0 on padding.
        scores: [B, T, N, K] float32. Column t - 1 scores the completions of the prefix of length t;
            from the last token on it is the score of the sequence itself, N times, and so it is in
            columns of prefixes shorter than the clamp. [B, T, 1, K] where prefixes were scored as they stand,
            [B, 1, 1, K] where only whole sequences were.
        clamp: leading tokens that are real.
        step: the adversarial step that they were made for, from 0; schedules are functions of it.
    """

    sequences: Sequences
    log_prob: Tensor
    scores: Tensor
    clamp: int = 0
    step: int = 0

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def chosen(self) -> Tensor:
        """[B, T] bool, true on the tokens that were sampled: neither padding nor given."""
        positions = torch.arange(self.log_prob.shape[1], device=self.log_prob.device)
        return self.sequences.mask & (positions >= self.clamp)

    def to(self, device: torch.device) -> Rollouts:
        """The same on a device."""
        sequences, log_prob, scores = self.sequences.to(device), self.log_prob, self.scores
        return Rollouts(sequences, log_prob.to(device), scores.to(device), self.clamp, self.step)


@dataclass(frozen=True, slots=True)
class Loss:
    """A scalar to descend, and what to log beside it (0-dimensional tensors, by metric name)."""

    value: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


def join_sequences(parts: Sequence[Sequences]) -> Sequences:
    """One batch from several, in order; either all have a source or none has one."""
    tokens = torch.cat([part.tokens for part in parts])
    lengths = torch.cat([part.lengths for part in parts])
    sources = [part.source for part in parts if part.source is not None]
    if sources and len(sources) < len(parts):
        raise ValueError(
            f"{len(sources)} of {len(parts)} batches have a source: either all have one or none has"
        )
    return Sequences(tokens, lengths, join_sources(sources) if sources else None)


def join_sources(parts: Sequence[Source]) -> Source:
    """One condition from several, in order; all must have the same fields."""

    def join(pieces: Sequence[Tensor | None]) -> Tensor | None:
        present = [piece for piece in pieces if piece is not None]
        if present and len(present) < len(pieces):
            raise ValueError(
                "sources with different fields cannot be joined: either all have a field or none has"
            )
        return torch.cat(present) if present else None

    return Source(
        join([part.tokens for part in parts]),
        join([part.mask for part in parts]),
        join([part.vector for part in parts]),
        join([part.read for part in parts]),
    )
