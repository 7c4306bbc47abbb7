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
        scored: whether scores are worked out before they are altered.
        trains_discriminator: whether D learns.
        fresh_discriminator: whether D starts at random instead of pretrained.
    """

    label: str
    alter: Alter | None = None
    scored: bool = True
    trains_discriminator: bool = True
    fresh_discriminator: bool = False


def constant(rollouts: Rollouts, spec: RolloutSpec, path: philox.Path) -> Rollouts:
    """Every score at its neutral value: a logit of 0, a probability of one half."""
    neutral = rollouts.log_prob.new_tensor([lookup(name).neutral for name in spec.scores])  # [K]
    B, T = rollouts.log_prob.shape
    columns = (T, max(1, spec.completions)) if spec.completions or spec.prefixes else (1, 1)
    return replace(rollouts, scores=neutral.repeat(B, *columns, 1))


def shuffled(rollouts: Rollouts, spec: RolloutSpec, path: philox.Path) -> Rollouts:
    """The scores of a sentence go to another one, all its positions together."""
    rows = torch.randperm(len(rollouts), generator=philox.generator((*path, "shuffle")))
    return replace(rollouts, scores=rollouts.scores[rows])


TRAINED_CONTROLS: dict[ControlName, Control] = {
    "constant_reward": Control("constant reward", constant, scored=False, trains_discriminator=False),
    "shuffled_reward": Control("shuffled reward", shuffled),
    "untrained_discriminator": Control(
        "untrained discriminator", trains_discriminator=False, fresh_discriminator=True
    ),
}


class AlteredPool:
    """A pool whose scores a control has changed on their way to the algorithm."""

    def __init__(self, pool: Pool, alter: Alter, *, scored: bool = True) -> None:
        """
        Args:
            scored: whether ``alter`` looks at the scores; nobody works them out where it does not.
        """
        self._pool, self._alter, self._scored = pool, alter, scored

    @property
    def exact(self) -> bool:
        return self._pool.exact

    @property
    def classes(self) -> tuple[str, ...]:
        return self._pool.classes

    @property
    def fast_bf16(self) -> bool:
        return self._pool.fast_bf16

    def greet(self) -> None:
        self._pool.greet()

    def publish(self, generator: Generator, discriminator: Discriminator, policy: Generator | None) -> None:
        self._pool.publish(generator, discriminator, policy)

    def refer(self, references: References | None) -> None:
        self._pool.refer(references)

    def collect(self, spec: RolloutSpec, request: Request, path: philox.Path) -> Rollouts:
        if not spec.scores:  # only sampled
            return self._pool.collect(spec, request, path)
        asked = spec if self._scored else replace(spec, completions=0, prefixes=False, scores=())
        return self._alter(self._pool.collect(asked, request, path), spec, path)

    def report(self) -> dict[str, float]:
        return self._pool.report()

    def close(self) -> None:
        self._pool.close()
