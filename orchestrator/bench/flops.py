"""Floating-point operations of each phase, worked out from the sizes alone.

A multiplication and an addition are two operations. Counted is what the definition of the work asks for,
done plainly: every completion is sampled and judged by itself. A way that shares work between completions, or
looks up what others multiply, needs fewer; so a fraction of the machine's limit may exceed 1.
Elementwise functions (softmax, relu, sigmoid) and the drawing of tokens are left out: they are no products.
"""

from __future__ import annotations

from dataclasses import dataclass

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from orchestrator.config import RunConfig

FORWARD_AND_BACKWARD = 3
"""A training step against a forward pass: gradients of inputs and of weights cost one such pass each."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the cost of the phases depends on.

    Attributes:
        B, T, N, V: sequences, their length, completions of a prefix, symbols.
        embedding, hidden: widths of the generator.
        judged: width of the discriminator's embedding.
        filters: its pairs (window width, number of filters), none wider than T.
        negatives: sequences sampled for the discriminator at a time.
    """

    B: int
    T: int
    N: int
    V: int
    embedding: int
    hidden: int
    judged: int
    filters: tuple[tuple[int, int], ...]
    negatives: int

    @classmethod
    def of(cls, config: RunConfig, N: int) -> Sizes:
        """Those of a run on the synthetic oracle with an LSTM and a text CNN."""
        G, D, data = config.generator, config.discriminator, config.data
        assert isinstance(G, LSTMGenerator.Config)
        assert isinstance(D, TextCNN.Config)
        T = data.oracle_length
        filters = tuple((width, count) for width, count in D.filters if width <= T)
        return cls(
            config.batch_size, T, N, data.oracle_vocabulary, G.embedding, G.hidden, D.embedding, filters,
            data.sequences,
        )  # fmt: skip

    @property
    def features(self) -> int:
        """Filters of all widths."""
        return sum(count for _, count in self.filters)

    @property
    def completions(self) -> int:
        """Sequences that are completed for one batch of credits: B N (T - 1)."""
        return self.B * self.N * (self.T - 1)

    @property
    def completed_tokens(self) -> int:
        """Tokens drawn for them: a prefix of length t lacks T - t."""
        return self.B * self.N * self.T * (self.T - 1) // 2

    @property
    def sampled_tokens(self) -> int:
        """Tokens of the B sequences themselves."""
        return self.B * self.T


def generator(sizes: Sizes, tokens: int) -> int:
    """So many steps of the LSTM, each with its logits."""
    gates = 2 * (sizes.embedding + sizes.hidden) * 4 * sizes.hidden
    return tokens * (gates + 2 * sizes.hidden * sizes.V)


def convolutions(sizes: Sizes, rows: int) -> int:
    """All windows of so many sequences."""
    return rows * sum(
        (sizes.T - width + 1) * 2 * width * sizes.judged * count for width, count in sizes.filters
    )


def unshared_convolutions(sizes: Sizes) -> int:
    """The convolutions of one batch of credits where windows inside a shared prefix are counted once.

    Of a sequence's windows of width w, min(T - w + 1, T - t) end behind the prefix of length t.
    """
    T = sizes.T
    beyond = sum(
        sum(min(T - width + 1, T - t) for t in range(1, T)) * 2 * width * sizes.judged * count
        for width, count in sizes.filters
    )
    return sizes.B * sizes.N * beyond + convolutions(sizes, sizes.B)


def highway(sizes: Sizes, rows: int) -> int:
    """Gate, transform and output layer of so many sequences."""
    return rows * (2 * 2 * sizes.features**2 + 2 * sizes.features)


def discriminator(sizes: Sizes, rows: int) -> int:
    """A forward pass over so many sequences."""
    return convolutions(sizes, rows) + highway(sizes, rows)


def completions(sizes: Sizes) -> int:
    """Sampling B sequences, and completing all their prefixes."""
    return generator(sizes, sizes.completed_tokens + sizes.sampled_tokens)


def scoring(sizes: Sizes) -> int:
    """Judging the completions, and the B sequences themselves."""
    return discriminator(sizes, sizes.completions + sizes.B)


def generator_step(sizes: Sizes) -> int:
    """A maximum-likelihood or policy-gradient step on B sequences."""
    return FORWARD_AND_BACKWARD * generator(sizes, sizes.sampled_tokens)


def discriminator_step(sizes: Sizes) -> int:
    """A step on a minibatch, half real and half generated."""
    return FORWARD_AND_BACKWARD * discriminator(sizes, 2 * max(1, sizes.B // 2))


def negatives(sizes: Sizes) -> int:
    """Sampling as many sequences as there are positives."""
    return generator(sizes, sizes.negatives * sizes.T)
