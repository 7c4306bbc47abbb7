"""The serial baseline of each phase of the reference work.

What takes minutes is timed once, after a small part of it that does not count. A training step is handed out
as an action, so that it can be timed in turn with ours.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from orchestrator.bench import serial
from orchestrator.bench import serial_training as training
from orchestrator.bench.timing import Action, seconds
from orchestrator.bench.work import Work

_ROWS_TO_WARM_UP = 2


class Baseline:
    """Times the baseline with the weights and the sequences of the reference work; each thing once."""

    def __init__(self, work: Work, say: Callable[[str], None]) -> None:
        self._work, self._say = work, say
        self._credits: tuple[float, float] | None = None

    def completions(self) -> float:
        """Sampling one batch, and completing its prefixes."""
        return self._both()[0]

    def scoring(self) -> float:
        """Judging these completions and the sequences themselves."""
        return self._both()[1]

    def negatives(self) -> float:
        """Sampling as many sequences as there are positives."""
        G, count = self._work.generator, len(self._work.data.train)
        self._say("  and the serial baseline, once ...")
        with serial.free_order():
            serial.sample(G, _ROWS_TO_WARM_UP)
            return seconds(lambda: serial.sample(G, count), self._work.device)

    def generator_step(self) -> Action:
        """A policy-gradient step."""
        work, fake = self._work, self._work.fake()
        G = training.PlainGenerator(work.generator)
        settings = work.config.algorithm
        optimizer = training.adam(G, settings.generator_lr)
        credit = work.state.algorithm.credit(fake)
        return _freely(
            lambda: training.policy_step(G, optimizer, fake.sequences.tokens, credit, settings.max_grad_norm)
        )

    def likelihood_step(self) -> Action:
        """A step of maximum likelihood."""
        work, G = self._work, training.PlainGenerator(self._work.generator)
        optimizer = training.adam(G, work.config.pretrain.generator_lr)
        tokens = work.real(work.config.batch_size).tokens
        limit = work.config.algorithm.max_grad_norm
        return _freely(lambda: training.likelihood_step(G, optimizer, tokens, limit))

    def discriminator_step(self) -> Action:
        """A step on one minibatch."""
        work, half = self._work, max(1, self._work.config.batch_size // 2)
        D = training.PlainDiscriminator(work.discriminator)
        optimizer = training.adam(D, work.config.algorithm.discriminator_lr)
        real, fake = work.real(half).tokens, work.fake().sequences.tokens[:half]
        return _freely(lambda: training.discriminator_step(D, optimizer, real, fake, work.discriminator.l2))

    def _both(self) -> tuple[float, float]:
        if self._credits is None:
            work, N = self._work, self._work.sizes.N
            G, D, device = work.generator, work.discriminator, work.device
            done: list[Tensor] = []

            def complete() -> None:
                tokens = serial.sample(G, work.sizes.B)
                done.extend((tokens, serial.complete(G, tokens, N)))

            self._say("  and the serial baseline, once: minutes at the full size ...")
            with serial.free_order():
                few = serial.sample(G, _ROWS_TO_WARM_UP)
                serial.score(D, few, serial.complete(G, few, 1))
                completing = seconds(complete, device)
                scoring = seconds(lambda: serial.score(D, *done), device)
            self._credits = completing, scoring
        return self._credits


def _freely(action: Action) -> Action:
    """The action where sums may be in any order, as the baseline's user has it."""

    def freely() -> None:
        with serial.free_order():
            action()

    return freely
