"""WGAN: Wasserstein Generative Adversarial Networks, for discrete sequences by way of the softmax.

Arjovsky, Chintala, Bottou. ICML 2017. https://arxiv.org/abs/1701.07875; the authors' main.py.

    W(P_r, P_theta) = sup_{|f|_L <= 1} E_{x ~ P_r}[ f(x) ] - E_{x ~ P_theta}[ f(x) ]                       (2)
    critic:    ascend  mean_i f_w(x_i) - mean_i f_w(g_theta(z_i)),   then w <- clip(w, -c, c)         (Alg. 1)
    generator: ascend  mean_i f_w(g_theta(z_i)),                     after n_critic critic updates    (Alg. 1)

f_w is D's value without a sigmoid, and no loss has a logarithm. x is one-hot, g(z) the softmax at every
position: the gradient goes through it, so there is nothing to roll out and no likelihood training.

Departures: the paper has images, here the networks are those of WGAN-GP's character model. The weights are
clipped after each critic update as in the paper (the authors' code: before). ``critic_warmup`` is in the code
alone: 100 critic updates for the first 25 generator updates and for every 500th.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from algorithms.losses import clip_parameters, wasserstein
from algorithms.models.base import Discriminator, Generator, relax
from algorithms.relaxed import Relaxed, norm_between, pair, symbols
from algorithms.types import Loss, Rollouts, Sequences

WARMUP, WARM_STEPS, WARM_EVERY = 100, 25, 500


class WGAN(Relaxed):
    class Config(Relaxed.Config):
        name: Literal["wgan"] = "wgan"

        clip: float = Field(0.01, gt=0)
        """c, the bound of every weight of the critic."""

        d_steps: int = Field(5, ge=1)
        """n_critic, critic updates before each of the generator."""

        critic_warmup: bool = False
        """The authors' code: 100 critic updates for the first 25 of the generator, and for every 500th."""

        optimizer: Literal["adam", "sgd", "rmsprop"] = "rmsprop"
        """Of both. Without momentum, says the paper: the critic's loss is not stationary."""

        momentum: float = Field(0.0, ge=0, lt=1)
        """Of RMSProp or SGD; Adam's first beta."""

        generator_lr: float = Field(5e-5, gt=0, le=10)
        """Rate of the generator."""

        discriminator_lr: float = Field(5e-5, gt=0, le=10)
        """Rate of the critic."""

    config: Config

    def optimizer(self, net: nn.Module, lr: float) -> torch.optim.Optimizer:
        c = self.config
        match c.optimizer:
            case "rmsprop":
                return torch.optim.RMSprop(net.parameters(), lr=lr, momentum=c.momentum)
            case "sgd":
                return torch.optim.SGD(net.parameters(), lr=lr, momentum=c.momentum)
            case "adam":
                return torch.optim.Adam(net.parameters(), lr=lr, betas=(c.momentum, 0.999), fused=True)

    def remarks(self) -> Sequence[str]:
        c = self.config
        if not c.momentum:
            return ()
        why = "the paper saw its critics become unstable under momentum, since their loss is not stationary"
        return [f"algorithm.momentum = {c.momentum}: {why}; set it to 0, or choose algorithm.name=wgan_gp"]

    def d_phases(self, step: int) -> int:
        warm = self.config.critic_warmup and (step < WARM_STEPS or step % WARM_EVERY == 0)
        return WARMUP if warm else self.config.d_steps

    def constrain(self, D: Discriminator) -> None:
        clip_parameters(D, self.config.clip)

    def generator_loss(
        self, G: Generator, D: Discriminator, fake: Rollouts, real: Sequences, rng: torch.Generator
    ) -> Loss:
        g_z = relax(G, fake.sequences)
        norm = norm_between(D, symbols(G, real), g_z, rng)  # told, not penalised
        return Loss(-D.logits(g_z).mean(), {"d/interpolate_grad_norm": norm.detach().mean()})

    def discriminator_loss(
        self, G: Generator, D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator
    ) -> Loss:
        x, g_z = pair(G, real, fake)
        f_real, f_fake = D.logits(torch.cat([x, g_z])).tensor_split([len(x)])
        loss = wasserstein(f_real, f_fake)
        return Loss(loss, {"d/wasserstein": -loss.detach()})
