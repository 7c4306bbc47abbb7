"""WGAN-GP: Improved Training of Wasserstein GANs, with the authors' character language model.

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville. NIPS 2017. https://arxiv.org/abs/1704.00028; the authors'
gan_language.py.

    L = E_{x~ ~ P_g}[ D(x~) ] - E_{x ~ P_r}[ D(x) ] + lambda E_x^[ ( |grad D(x^)|_2 - 1 )^2 ]             (3)
    x^ = epsilon x + (1 - epsilon) x~,   epsilon ~ U[0, 1], one for each sample                       (Alg. 1)
    generator: descend  - E_z[ D(G(z)) ],   after n_critic critic updates                             (Alg. 1)

x is one-hot, x~ the softmax at every position, and the norm is over all T x V entries of a sample. There is
no likelihood training, no rollout, and no batch normalisation in D: the penalty is each sample's own.

Departures: losses, Adam (1e-4, betas 0.5 and 0.9) and n_critic = 10 are those of gan_language.py, where
Algorithm 1 has betas 0 and 0.9 and n_critic = 5. 1e-12 is added under the root. Real sequences of a critic
update are drawn anew each time, not taken in turn. ``one_sided``, which the appendix compares, is an option.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from algorithms.losses import gradient_penalty, wasserstein
from algorithms.models.base import Discriminator, Generator, relax
from algorithms.relaxed import Relaxed, norm_between, pair
from algorithms.types import Loss, Rollouts, Sequences


class WGANGP(Relaxed):
    class Config(Relaxed.Config):
        name: Literal["wgan_gp"] = "wgan_gp"

        penalty: float = Field(10.0, ge=0)
        """lambda, the weight of the gradient penalty."""

        one_sided: bool = False
        """Whether only norms above 1 are penalised."""

        d_steps: int = Field(10, ge=1)
        """n_critic, critic updates before each of the generator."""

        optimizer: Literal["adam"] = "adam"
        """Of both."""

        beta1: float = Field(0.5, ge=0, lt=1)
        """Adam's first beta, of both."""

        beta2: float = Field(0.9, ge=0, lt=1)
        """Adam's second beta, of both."""

        generator_lr: float = Field(1e-4, gt=0, le=10)
        """Adam's rate for the generator."""

        discriminator_lr: float = Field(1e-4, gt=0, le=10)
        """Adam's rate for the critic."""

    config: Config

    def optimizer(self, net: nn.Module, lr: float) -> torch.optim.Optimizer:
        betas = (self.config.beta1, self.config.beta2)
        return torch.optim.Adam(net.parameters(), lr=lr, betas=betas, fused=True)

    def generator_loss(
        self, G: Generator, D: Discriminator, fake: Rollouts, real: Sequences, rng: torch.Generator
    ) -> Loss:
        return Loss(-D.logits(relax(G, fake.sequences)).mean())

    def discriminator_loss(
        self, G: Generator, D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator
    ) -> Loss:
        x, x_tilde = pair(G, real, fake)
        critic_loss = wasserstein(*D.logits(torch.cat([x, x_tilde])).tensor_split([len(x)]))
        norm = norm_between(D, x, x_tilde, rng)
        penalty = gradient_penalty(norm, one_sided=self.config.one_sided)
        told = {"d/wasserstein": -critic_loss.detach(), "d/interpolate_grad_norm": norm.detach().mean()}
        return Loss(critic_loss + self.config.penalty * penalty, told)  # Eq. 3
