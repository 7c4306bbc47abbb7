"""Controls: the adversarial stage again from the same start, with one thing changed.

If a control does as well as the run, the discriminator is not what helped. They wrap the score, so
no algorithm knows of them. The colder start has no training at all: the generator as the adversarial
stage found it, sampled at lower temperatures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from algorithms.bleu import References
from algorithms.models.base import Discriminator, Generator
from algorithms.scores import lookup
from algorithms.types import Rollouts, RolloutSpec
from orchestrator.config import ControlName
from workers import philox
from workers.pool import Pool, Request

Alter = Callable[[Rollouts, RolloutSpec, philox.Path], Rollouts]


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that differs from the run.

    Attributes:
        label: for people.
        alter: what happens to the scores, or None.
        trains_discriminator: whether D learns.
        fresh_discriminator: whether D starts at random instead of pretrained.
    """

    label: str
    alter: Alter | None = None
    trains_discriminator: bool = True
    fresh_discriminator: bool = False


def constant(rollouts: Rollouts, spec: RolloutSpec, path: philox.Path) -> Rollouts:
    """Every score at its neutral value: a logit of 0, a probability of one half."""
    neutral = torch.tensor([lookup(name).neutral for name in spec.scores]).to(rollouts.scores)
    return replace(rollouts, scores=neutral.expand_as(rollouts.scores).clone())


def shuffled(rollouts: Rollouts, spec: RolloutSpec, path: philox.Path) -> Rollouts:
    """The scores of a sentence go to another one, all its positions together."""
    rows = torch.randperm(len(rollouts), generator=philox.generator((*path, "shuffle")))
    return replace(rollouts, scores=rollouts.scores[rows])


TRAINED_CONTROLS: dict[ControlName, Control] = {
    "constant_reward": Control("constant reward", constant, trains_discriminator=False),
    "shuffled_reward": Control("shuffled reward", shuffled),
    "untrained_discriminator": Control(
        "untrained discriminator", trains_discriminator=False, fresh_discriminator=True
    ),
}


class AlteredPool:
    """A pool whose scores a control has changed on their way to the algorithm."""

    def __init__(self, pool: Pool, alter: Alter) -> None:
        self._pool, self._alter = pool, alter

    @property
    def exact(self) -> bool:
        return self._pool.exact

    @property
    def classes(self) -> tuple[str, ...]:
        return self._pool.classes

    def greet(self) -> None:
        self._pool.greet()

    def publish(self, generator: Generator, discriminator: Discriminator, policy: Generator | None) -> None:
        self._pool.publish(generator, discriminator, policy)

    def refer(self, references: References | None) -> None:
        self._pool.refer(references)

    def collect(self, spec: RolloutSpec, request: Request, path: philox.Path) -> Rollouts:
        rollouts = self._pool.collect(spec, request, path)
        return self._alter(rollouts, spec, path) if spec.completions or spec.scores else rollouts

    def report(self) -> dict[str, float]:
        return self._pool.report()

    def close(self) -> None:
        self._pool.close()
