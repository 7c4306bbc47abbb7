"""The reference work, taken apart: what a run does between two steps, one action at a time.

State, pool and trainer are those of a run, and each action is what the trainer does there. The sizes are the
SeqGAN paper's, which are the defaults of the configuration.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import torch

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.types import Loss, Rollouts, RolloutSpec, Sequences
from orchestrator import checkpoints
from orchestrator.bench.flops import Sizes
from orchestrator.config import RunConfig
from orchestrator.data import load_data
from orchestrator.open_pool import open_pool
from orchestrator.recipe import load
from orchestrator.state import TrainState
from orchestrator.step_metrics import StepMetrics
from orchestrator.trainer import Trainer
from workers import philox, weights
from workers.pool import InProcessPool, Pool, Request
from workers.process import settle

FULL = ("data.sequences=9984", "data.held_out=2")
"""Whole minibatches of negatives; nothing here is evaluated."""
QUICK = """
    data.oracle_vocabulary=50 data.oracle_length=6 data.oracle_hidden=8 data.sequences=64 data.held_out=2
    generator.embedding=8 generator.hidden=8 discriminator.filters=[[1,4],[2,4]] discriminator.embedding=6
    algorithm.completions=2 batch_size=16 learner.threads=1
""".split()
"""Whether everything works, and no more."""


def reference(quick: bool = False, changes: Sequence[str] = ()) -> RunConfig:
    """The configuration of the reference work; ``changes`` are settings as on the command line."""
    return load("seqgan", [*(QUICK if quick else FULL), *changes])


class Work:
    """One run at the beginning of its adversarial stage. A context; nothing of it is written to a disk."""

    def __init__(self, config: RunConfig, device: torch.device | str) -> None:
        settle(config.learner.threads)
        self.config, self.device = config, torch.device(device)
        self.data = load_data(config.data)
        self.state = TrainState.fresh(config, self.data.alphabet, self.data.length, self.device)
        self.pool: Pool = open_pool(config, self.state)
        self.trainer = Trainer(config, self.state, self.pool, self.data.train)
        self.spec = self.state.algorithm.rollouts(0)
        self.sizes = Sizes.of(config, self.spec.completions)
        self._numbers = itertools.count()  # of actions: each has its own random numbers
        self._nudge = 2.0**-10
        self._published = weights.Publications()
        self._fake: Rollouts | None = None
        self._negatives: Sequences | None = None
        self.trainer.publish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()

    @property
    def generator(self) -> LSTMGenerator:
        """The one that learns; the baseline knows no other kind."""
        assert isinstance(self.state.generator, LSTMGenerator)
        return self.state.generator

    @property
    def discriminator(self) -> TextCNN:
        """As above."""
        assert isinstance(self.state.discriminator, TextCNN)
        return self.state.discriminator

    def real(self, count: int) -> Sequences:
        """Training sequences, on the device."""
        return self.data.train.select(slice(0, count)).to(self.device)

    def fake(self) -> Rollouts:
        """One batch of sequences with their scores, always the same."""
        if self._fake is None:
            self._fake = self.collect(self.spec).to(self.device)
        return self._fake

    @torch.no_grad()
    def learn_a_little(self) -> None:
        """Moves every network: as after a step, the pool has to take over all that follows from weights."""
        self._nudge = -self._nudge
        for network in (self.state.generator, self.state.discriminator):
            for parameter in network.parameters():
                parameter.view(-1)[0] += self._nudge

    def learn_and_publish(self) -> None:
        """Other weights, in the pool's hands."""
        self.learn_a_little()
        self.trainer.publish()

    def collect(self, spec: RolloutSpec) -> Rollouts:
        """The rollouts of one generator step."""
        path: philox.Path = (self.config.seed, "bench", next(self._numbers))
        return self.pool.collect(spec, Request(self.config.batch_size), path)

    def first_unit(self, spec: RolloutSpec, count: int) -> Rollouts:
        """A part of such rollouts, of ``count`` sequences in all, in the thread that is looked at."""
        assert isinstance(self.pool, InProcessPool)
        return self.pool.first_unit(spec, Request(count), (self.config.seed, "bench", next(self._numbers)))

    def sample_negatives(self) -> Sequences:
        """As many sequences as there are positives."""
        path: philox.Path = (self.config.seed, "bench", next(self._numbers), "negatives")
        return self.pool.collect(RolloutSpec(scores=()), Request(len(self.data.train)), path).sequences

    def generator_step(self) -> None:
        """A policy-gradient step."""
        state, fake, real = self.state, self.fake(), self.real(self.config.batch_size)
        state.generator.train()
        state.discriminator.eval()
        self._step(
            "generator",
            lambda rng: state.algorithm.generator_loss(state.generator, state.discriminator, fake, real, rng),
        )

    def discriminator_step(self) -> None:
        """A step on one minibatch, half real, half generated."""
        state, half = self.state, max(1, self.config.batch_size // 2)
        fake, real = self.fake().sequences.select(slice(0, half)), self.real(half)
        state.discriminator.train()
        state.generator.eval()
        self._step("discriminator", lambda rng: self.trainer.discriminator_loss(fake, real, rng))

    def rounded_discriminator_step(self) -> None:
        """The same with products of bfloat16."""
        self.trainer.learning = "bf16"
        try:
            self.discriminator_step()
        finally:
            self.trainer.learning = "fp32"

    def mle_step(self) -> None:
        """A step of maximum likelihood."""
        state, real = self.state, self.real(self.config.batch_size)
        state.generator.train()
        self._step("pretrain", lambda rng: state.algorithm.pretrain_loss(state.generator, real, 0, rng))

    def pack_weights(self) -> list[weights.Weights]:
        """What a publication sends, of networks that have changed: flat buffers with their hashes."""
        return self._published.update(self.state.generator, self.state.discriminator, self.state.policy)

    def load_weights(self) -> None:
        """What whoever receives it does: the latest buffers are copied into networks and hashed again."""
        for name, network in self.state.networks().items():
            if name in self._published.latest:
                weights.load(network, self._published.latest[name])

    def save(self, folder: Path) -> None:
        """A checkpoint, committed to the disk; with the moments of the optimisers that have moved."""
        step = next(self._numbers)
        checkpoints.save(folder, step, self.state.tensors(), {"counters": self.state.counters()})

    def _step(self, optimizer: str, loss: Callable[[torch.Generator], Loss]) -> None:
        place: philox.Path = (self.config.seed, "bench", next(self._numbers))
        with philox.global_random(place):
            self.trainer.descend(optimizer, loss(philox.generator((*place, "loss"))), StepMetrics())
