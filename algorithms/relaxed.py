"""What WGAN and WGAN-GP share: a critic of relaxed symbols, and a generator that learns through them."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from algorithms.base import Algorithm, Stage
from algorithms.losses import interpolate, slope_norm
from algorithms.models.base import Discriminator, Generator, relax
from algorithms.types import Rollouts, RolloutSpec, Sequences


class Relaxed(Algorithm):
    """No likelihood training, no tokens drawn, no rewards; n_critic updates of D, then one of G."""

    stages: ClassVar[tuple[Stage, ...]] = ("pretrain_discriminator", "adversarial")
    discriminator_first: ClassVar[bool] = True
    relaxes: ClassVar[bool] = True

    class Config(Algorithm.Config):
        d_epochs: int = Field(1, ge=1)
        """Epochs over the sequences of each critic phase."""

        d_batch: int | None = Field(64, ge=1)
        """m, real sequences in a critic update, beside as many generated ones."""

        d_sequences: int | None = Field(64, ge=1)
        """Real sequences of a critic phase: as many as ``d_batch`` make one update of it."""

        max_grad_norm: float | None = Field(None, gt=0)
        """The generator's gradient is scaled down to this global norm. Empty: never."""

    def rollouts(self, step: int) -> RolloutSpec:
        return RolloutSpec(scores=(), drawn=False)

    def negatives(self, step: int) -> RolloutSpec:
        return RolloutSpec(scores=(), drawn=False)

    def credit(self, fake: Rollouts) -> Tensor:
        return torch.zeros_like(fake.log_prob)


def symbols(G: Generator, real: Sequences) -> Tensor:
    """Real sequences as one-hot symbols: [B, T, V]."""
    return one_hot(real.tokens, G.alphabet.size).float()


@torch.no_grad()
def pair(G: Generator, real: Sequences, fake: Sequences) -> tuple[Tensor, Tensor]:
    """What a critic compares, both constants: real symbols, and G's relaxed ones for given latents."""
    return symbols(G, real), relax(G, fake)


def norm_between(D: Discriminator, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """The norm of D's gradient at a random point between each real sequence and a generated one: [B]."""
    epsilon = torch.rand(len(real), generator=rng).to(real.device)
    return slope_norm(D.logits, interpolate(real, fake, epsilon))
