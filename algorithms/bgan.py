"""BGAN: Boundary-Seeking Generative Adversarial Networks, for discrete data.

Hjelm, Jacob, Che, Trischler, Cho, Bengio. ICLR 2018. https://arxiv.org/abs/1702.08431; the authors' code,
lib/loss.py, and Nowozin et al. 2016 (https://arxiv.org/abs/1606.00709) for the f-divergences. F: D's logit.

    max_D  E_data[ T(x) ] - E_G[ f*(T(x)) ],   T = g_f(F(x))                                   (1)
    w(x) = (d f* / d T)(T(x)): p_data / G at the best D;  "gan": D / (1 - D) = exp F           (2)
    log Z(z) = log 1/M sum_m w(x^m),   w~^m = w(x^m) / sum_m' w(x^m'),   x^m ~ G(.|z)          (3)
    grad = sum_z sum_m w~^m grad log G(x^m | z)                                                (4)
    REINFORCE: grad = sum_z sum_m ( log w(x^m) - log Z - 1 ) grad log G(x^m | z)               (5)
               log Z: a moving average over updates, which is its baseline

Without a latent z, M samples stand for the whole distribution; "samples" = 1: the minibatch is one group.

Departures: z is normal (there uniform). Eq. 5 divides by M, as Eq. 4 does by its weights, and the average of
log Z starts at the first group's, not at 0. The weights of the other divergences follow from their
conjugates; the authors' code has "gan" for text. The boundary-seeking loss for continuous data, (log D -
log(1 - D))^2 / 2, needs a gradient through x and has no meaning for tokens: it is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from algorithms.base import Algorithm
from algorithms.losses import effective_sample_size, log_mean_exp, policy_gradient, shared_weights
from algorithms.models.base import Discriminator, Generator
from algorithms.types import Loss, Rollouts, RolloutSpec, Sequences

Of = Callable[[Tensor], Tensor]
DIVERGENCES: dict[
    str, tuple[Of, Of, Of]
] = {  # log w, -T on real and f*(T) on generated sequences, as functions of F; Eqs. 1 and 2
    "gan": (lambda F: F, lambda F: softplus(-F), softplus),
    "kl": (lambda F: F - 1, lambda F: -F, lambda F: (F - 1).exp()),
    "reverse_kl": (lambda F: F, lambda F: (-F).exp(), lambda F: F - 1),
    "squared_hellinger": (lambda F: 2 * F, lambda F: (-F).exp() - 1, lambda F: F.exp() - 1),
}


class BGAN(Algorithm):
    class Config(Algorithm.Config):
        name: Literal["bgan"] = "bgan"

        samples: int = Field(20, ge=1)
        """M, sequences of each latent z or prompt; 1: those of the whole minibatch are one group."""

        divergence: Literal["gan", "kl", "reverse_kl", "squared_hellinger"] = "gan"
        """f: what D estimates, and so what its output weighs."""

        estimator: Literal["importance", "reinforce"] = "importance"
        """Normalised weights (Eq. 4), or log w with a moving average as the baseline (Eq. 5)."""

        baseline_decay: float = Field(0.995, ge=0, lt=1)
        """Of the moving average of log Z, for estimator = reinforce."""

        d_steps: int = Field(1, ge=0)
        """Discriminator phases per step, each on fresh negatives."""

        d_epochs: int = Field(1, ge=1)
        """k, epochs over positives and negatives in each discriminator phase."""

        generator_lr: float = Field(1e-4, gt=0, le=10)
        """Adam's rate for the adversarial generator updates."""

    config: Config
    moving: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("moving", torch.tensor(torch.nan))  # log Z; nan before the first update

    def rollouts(self, step: int) -> RolloutSpec:
        return RolloutSpec(samples=self.config.samples)

    def log_weights(self, fake: Rollouts) -> Tensor:
        """log w in groups: [Z, M]."""
        log_w = DIVERGENCES[self.config.divergence][0](fake.scores[:, 0, 0, 0])  # Eq. 2
        return log_w.view(-1, self.config.samples if self.config.samples > 1 else len(fake))

    def credit(self, fake: Rollouts) -> Tensor:
        log_w = self.log_weights(fake)
        if self.config.estimator == "importance":
            credit = shared_weights(log_w, torch.ones_like(log_w, dtype=torch.bool))  # Eqs. 3, 4; times M
        else:
            log_Z = log_mean_exp(log_w, -1).mean() if self.moving.isnan() else self.moving
            credit = log_w - log_Z - 1  # Eq. 5
        return credit.reshape(-1, 1) * fake.chosen

    def generator_loss(
        self, G: Generator, D: Discriminator, fake: Rollouts, real: Sequences, rng: torch.Generator
    ) -> Loss:
        x, log_w = fake.sequences, self.log_weights(fake)
        log_Z = log_mean_exp(log_w, -1).mean()
        everyone = torch.ones_like(log_w, dtype=torch.bool)
        told = {
            "adv/effective_sample_size": effective_sample_size(shared_weights(log_w, everyone)),
            "adv/log_partition": log_Z,
        }
        credit, decay = self.credit(fake), self.config.baseline_decay
        self.moving = log_Z if self.moving.isnan() else decay * self.moving + (1 - decay) * log_Z
        return Loss(policy_gradient(G.log_prob(x.tokens, x.source), credit, fake.chosen) / len(x), told)

    def discriminator_loss(
        self, G: Generator, D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator
    ) -> Loss:
        d_real, d_fake = D.judge(real, fake)
        log_w, of_real, of_fake = DIVERGENCES[self.config.divergence]
        value = (of_real(d_real).mean() + of_fake(d_fake).mean()) / 2  # Eq. 1
        told = {
            "d/accuracy_real": (log_w(d_real) > 0).float().mean(),
            "d/accuracy_fake": (log_w(d_fake) < 0).float().mean(),
        }
        return Loss(value + D.regularization(), told)
