"""MaliGAN: Maximum-Likelihood Augmented Discrete Generative Adversarial Networks.

Che, Li, Zhang, Hjelm, Li, Song, Bengio. 2017. https://arxiv.org/abs/1702.07983

    r_D(x) = D(x) / (1 - D(x)) = exp(l(x)),   l: the discriminator's logit
    grad = sum_i ( r_D(x_i) / sum_j r_D(x_j) - b ) grad log G(x_i)                     (2)    "sequence"
    grad = sum_i L_i / sum_it Q_it * sum_it Q_it grad log G(a_it | s_it),  Q = E[r_D]  (3.3)  "token"
    grad = sum_ij ( r_D(x_ij) / sum_j' r_D(x_ij') - b ) grad log G(x_ij^>N | x_i^<=N)  (4)
           + 1/m sum_i sum_t<=N grad log G(a_it | s_it)       x_i real, x_ij completes its first N tokens

Algorithm 2: N <- N - K, then D on real sequences and fakes that begin as they do, then G.

Departures: Eq. 2's weights sum to one, yet the text says that less b = 1 they sum to zero: here their mean
is one, and sums over sequences are means. As printed, Eq. 4 has 1/m on its second term alone, which the first
would outweigh m times: both are means. Algorithm 2 lowers N in every iteration, the text says slowly:
``prefix_updates`` steps share an N. In Eq. 4 with "token" the Q of a prefix's completions have mean one among
themselves. The paper does not bound l (``logit_clip``, ``temper``). b's ramp is linear.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from algorithms.base import Algorithm
from algorithms.losses import effective_sample_size, judge, log_mean_exp, policy_gradient, shared_weights
from algorithms.models.base import Discriminator, Generator
from algorithms.types import Loss, Rollouts, RolloutSpec, Sequences


class MaliGAN(Algorithm):
    class Config(Algorithm.Config):
        name: Literal["maligan"] = "maligan"

        form: Literal["sequence", "token"] = "sequence"
        """One weight for a sequence (MaliGAN-basic), or one for each token, by Monte Carlo completions."""

        samples: int = Field(1, ge=1)
        """n, sequences of one prefix or condition, which share their weights; 1: the minibatch does."""

        completions: int = Field(16, ge=1)
        """Monte Carlo completions per prefix, for form = token."""

        prefix: int = Field(0, ge=0)
        """N at the start: leading tokens that are real, in mixed training. 0: none."""

        prefix_decrement: int = Field(5, ge=1)
        """K, by how much N is lowered."""

        prefix_updates: int = Field(1, ge=1)
        """Steps that share an N; the first lowers it."""

        baseline_steps: int = Field(200, ge=0)
        """Steps in which b rises from 0 to 1; 0: it is 1."""

        logit_clip: float | None = Field(None, gt=0)
        """Bound of |l|. Empty: none."""

        temper: float = Field(1.0, gt=0, le=1)
        """Power of r_D: below 1 the weights are flatter."""

        delayed: bool = False
        """Whether sequences are drawn by p', the delayed copy (``policy_delay``)."""

    config: Config

    def clamp(self, step: int) -> int:
        c = self.config  # N
        return max(0, c.prefix - c.prefix_decrement * (1 + step // c.prefix_updates))

    def b(self, step: int) -> float:
        return min(1.0, step / self.config.baseline_steps) if self.config.baseline_steps else 1.0

    def rollouts(self, step: int) -> RolloutSpec:
        c = self.config
        many = c.completions if c.form == "token" else 0
        return RolloutSpec(samples=c.samples, completions=many, clamp=self.clamp(step), delayed=c.delayed)

    def negatives(self, step: int) -> RolloutSpec:
        return RolloutSpec(clamp=self.clamp(step), scores=())

    def weights(self, fake: Rollouts) -> Tensor:
        """r_D, of mean one in each group: [groups, members, T or 1]."""
        c, B = self.config, len(fake)
        bound = torch.inf if c.logit_clip is None else c.logit_clip
        logits = fake.scores[..., 0].clamp(-bound, bound) * c.temper  # [B, T or 1, N]
        log_r = log_mean_exp(logits, -1)  # [B, T or 1]
        counted = fake.chosen if c.form == "token" else torch.ones_like(log_r, dtype=torch.bool)
        shape = (-1, c.samples if c.samples > 1 else B, log_r.shape[1])
        return shared_weights(log_r.view(shape), counted.view(shape))

    def credit(self, fake: Rollouts) -> Tensor:
        weights = self.weights(fake).flatten(0, 1)  # [B, T or 1]
        return (weights - self.b(fake.step)) * fake.chosen

    def generator_loss(
        self, G: Generator, D: Discriminator, fake: Rollouts, real: Sequences, rng: torch.Generator
    ) -> Loss:
        x, N = fake.sequences, fake.clamp
        schedule = {"adv/baseline": self.b(fake.step), "adv/clamped_prefix": N}
        told = {name: torch.tensor(float(value)) for name, value in schedule.items()}
        value = torch.zeros((), device=x.tokens.device)
        if x.tokens.shape[1] > N:
            told["adv/effective_sample_size"] = effective_sample_size(self.weights(fake))
            log_prob = G.log_prob(x.tokens, x.source)  # [B, T]
            value = policy_gradient(log_prob, self.credit(fake), fake.chosen) / len(x)  # 2, 3.3, 4
        if N:
            given = G.log_prob(real.tokens, real.source)[:, :N]
            value = value - (given * real.mask[:, :N]).sum() / len(real)  # Eq. 4, second term
        return Loss(value, told)

    def discriminator_loss(
        self, G: Generator, D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator
    ) -> Loss:
        return judge(D, fake, real)
