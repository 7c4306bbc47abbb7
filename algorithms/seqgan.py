"""SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient.

Yu, Zhang, Wang, Yu. AAAI 2017. https://arxiv.org/abs/1609.05473

    Q(s = Y_1:t-1, a = y_t) = 1/N sum_n D(Y^n_1:T),  Y^n ~ MC^G_beta(Y_1:t; N)   t < T       (4)
                            = D(Y_1:T)                                            t = T
    min_D  - E_data[ log D(Y) ] - E_G[ log(1 - D(Y)) ]                                       (5)
    grad J = sum_t E[ grad log G(y_t | Y_1:t-1) * Q(Y_1:t-1, y_t) ]                          (7)

Algorithm 1: pretrain G by maximum likelihood and D on its samples; repeat g generator steps,
then d discriminator steps of k epochs on fresh negatives, then beta <- theta.

Departures: D gives one logit (the authors' code: a two-way softmax). Minibatches for D hold as many
real as generated sequences (there: shuffled together). After the end symbol there is no credit (the
paper has fixed lengths). ``policy_delay`` is 0 as in the paper; the authors' code sets 0.8, which in
their graph has no effect on sampling. ``baseline`` is none and ``reward`` the probability, as in the paper;
the other choices are ours: a probability near 0 or 1 hides differences that the logit still shows.
``discriminator_loss`` = wasserstein replaces Eq. 5 by the critic of Arjovsky et al. 2017 (WGAN, Algorithm 1);
its value has no scale of its own and is whitened.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.losses import (
    clip_parameters,
    difference_of_neighbours,
    judge,
    policy_gradient,
    subtract_position_mean,
    wasserstein,
    whitened,
)
from algorithms.models.base import Discriminator, Generator
from algorithms.types import Loss, Rollouts, RolloutSpec, Sequences


class SeqGAN(Algorithm):
    class Config(Algorithm.Config):
        name: Literal["seqgan"] = "seqgan"

        completions: int = Field(16, ge=1)
        """N, Monte Carlo completions per prefix."""

        baseline: Literal["none", "position_mean", "neighbour"] = "none"
        """Taken from Q: nothing, its batch mean at each position, or Q of the prefix one token shorter."""

        reward: Literal["probability", "logit"] = "probability"
        """What D says of a completed sequence: the probability, as in the paper, or log D - log(1 - D)."""

        discriminator_loss: Literal["cross_entropy", "wasserstein"] = "cross_entropy"
        """Eq. 5; or D is WGAN's critic, whose value, whitened over the minibatch, is the reward."""

        clip: float = Field(0.01, gt=0)
        """Bound of the critic's weights, for discriminator_loss = wasserstein; its optimiser is RMSProp."""

    config: Config

    @property
    def has_logit(self) -> bool:
        return self.config.discriminator_loss == "cross_entropy"

    def optimizer(self, net: nn.Module, lr: float) -> torch.optim.Optimizer:
        if not self.has_logit and isinstance(net, Discriminator):
            return torch.optim.RMSprop(net.parameters(), lr=lr)
        return super().optimizer(net, lr)

    def constrain(self, D: Discriminator) -> None:
        if not self.has_logit:
            clip_parameters(D, self.config.clip)

    def rollouts(self, step: int) -> RolloutSpec:
        return RolloutSpec(completions=self.config.completions)

    def credit(self, fake: Rollouts) -> Tensor:
        logits = fake.scores[..., 0]
        rewards = logits if not self.has_logit or self.config.reward == "logit" else logits.sigmoid()
        Q = rewards.mean(-1)  # [B, T]  Eq. 4
        if not self.has_logit:  # its scale drifts
            Q = whitened(Q, fake.sequences.mask)
        if self.config.baseline == "position_mean":
            return subtract_position_mean(Q, fake.sequences.mask)
        if self.config.baseline == "neighbour":
            return difference_of_neighbours(Q, fake.sequences.mask)
        return Q

    def generator_loss(
        self, G: Generator, D: Discriminator, fake: Rollouts, real: Sequences, rng: torch.Generator
    ) -> Loss:
        Y = fake.sequences
        log_prob = G.log_prob(Y.tokens, Y.source)  # [B, T]
        return Loss(policy_gradient(log_prob, self.credit(fake), Y.mask))  # Eq. 7

    def discriminator_loss(
        self, G: Generator, D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator
    ) -> Loss:
        if not self.has_logit:
            f_real, f_fake = D.judge(real, fake)
            loss = wasserstein(f_real, f_fake)
            return Loss(loss, {"d/wasserstein": -loss.detach()})
        return judge(D, fake, real)  # Eq. 5
