"""Adversarial dialogue: Adversarial Learning for Neural Dialogue Generation.

Li, Monroe, Shi, Jean, Ritter, Jurafsky. EMNLP 2017. https://arxiv.org/abs/1701.06547

    grad J = ( Q(x, y) - b(x) ) sum_t grad log G(y_t | x, y_<t)                 (2)    "sequence"
    grad J = sum_t ( Q(x, y_1:t) - b(x, y_<t) ) grad log G(y_t | x, y_<t)       (3)    "monte_carlo", "prefix"

x is the history, y the reply, Q what D holds for the probability that a human wrote it. A prefix has the mean
Q of N completions by G, or that of a D trained on one prefix of each reply, since all of them overfit. b is a
network fitted to Q by squared error. After each policy gradient G learns the human's reply, lest it collapse.

Departures: the paper's b in Eq. 3 sees y_t, too, which would bias the gradient; here it does not. The code
gives the last token the reward of the prefix before it; here it has the reply's own. ``policy_weight`` is the
code's Timeslr, whose second division by the batch size is left out. Sums over t, means over replies.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from algorithms.base import Algorithm
from algorithms.losses import judge, judge_prefixes, mean_of_others, policy_gradient
from algorithms.models.base import Discriminator, Generator
from algorithms.models.hierarchical import CriticConfig
from algorithms.types import Alphabet, Loss, Rollouts, RolloutSpec, Sequences


class AdversarialDialogue(Algorithm):
    class Config(Algorithm.Config):
        name: Literal["adversarial_dialogue"] = "adversarial_dialogue"

        reward: Literal["sequence", "monte_carlo", "prefix"] = "monte_carlo"
        """Of the whole reply (REINFORCE), or of each token: by completions, or a D trained on prefixes."""

        completions: int = Field(5, ge=1)
        """N, Monte Carlo completions per prefix, for reward = monte_carlo."""

        samples: int = Field(1, ge=1)
        """Replies to each history."""

        baseline: Literal["critic", "group_mean", "batch_mean", "none"] = "critic"
        """b: a network's; the mean Q of the other replies to a history (samples > 1), or of all others; 0."""

        critic: CriticConfig = CriticConfig()
        """Sizes of that network."""

        critic_lr: float = Field(5e-4, gt=0, le=10)
        """Its rate, by Adam."""

        policy_weight: float = Field(0.5, gt=0)
        """Of the policy gradient."""

        teacher_forcing: float = Field(1.0, ge=0)
        """Weight of the likelihood of human replies beside it."""

        optimizer: Literal["adam", "sgd", "rmsprop"] = "sgd"
        """Of G in the adversarial stage, and of D."""

        generator_lr: float = Field(1.0, gt=0, le=10)
        """Rate of the adversarial generator updates."""

        discriminator_lr: float = Field(1e-2, gt=0, le=10)
        """Rate of the discriminator, in pretraining and after."""

        d_epochs: int = Field(1, ge=1)
        """k, epochs over positives and negatives in each discriminator phase."""

    config: Config

    def prepare(self, alphabet: Alphabet, length: int) -> None:
        super().prepare(alphabet, length)
        if (b := self.config.baseline) == "group_mean" and self.config.samples < 2:
            raise ValueError("algorithm.baseline = group_mean: set algorithm.samples=2 or more")
        self.critic = self.config.critic.build(alphabet, length) if b == "critic" else None

    def rollouts(self, step: int) -> RolloutSpec:
        c = self.config
        N = c.completions if c.reward == "monte_carlo" else 0
        return RolloutSpec(samples=c.samples, completions=N, prefixes=c.reward == "prefix")

    def own_optimizer(self) -> torch.optim.Optimizer | None:
        net, lr = self.critic, self.config.critic_lr
        return None if net is None else torch.optim.Adam(net.parameters(), lr=lr, fused=True)

    def reward(self, fake: Rollouts) -> Tensor:
        return fake.scores[..., 0].sigmoid().mean(-1).expand_as(fake.log_prob)  # Q, [B, T]

    def baseline(self, fake: Rollouts) -> Tensor:
        Y, c = fake.sequences, self.config
        if c.baseline == "none":
            return torch.zeros_like(fake.log_prob)
        if self.critic is None:
            size = len(Y) if c.baseline == "batch_mean" else c.samples
            return mean_of_others(self.reward(fake), Y.mask, size)
        b = self.critic.before_tokens(Y.tokens, Y.source).sigmoid()
        return b[:, :1].expand_as(b) if c.reward == "sequence" else b

    def credit(self, fake: Rollouts) -> Tensor:
        return ((self.reward(fake) - self.baseline(fake)) * fake.chosen).detach()

    def generator_loss(
        self, G: Generator, D: Discriminator, fake: Rollouts, real: Sequences, rng: torch.Generator
    ) -> Loss:
        Y, credit = fake.sequences, self.credit(fake)
        loss = policy_gradient(G.log_prob(Y.tokens, Y.source), credit, fake.chosen) / len(Y)  # Eqs. 2, 3
        told = {"adv/baseline": (self.reward(fake) - credit)[fake.chosen].mean()}
        return Loss(self.config.policy_weight * loss, told)

    def own_loss(self, fake: Rollouts, rng: torch.Generator) -> Loss | None:
        error = (self.baseline(fake) - self.reward(fake))[fake.sequences.mask]
        return Loss(error.square().mean()) if self.critic is not None else None

    def discriminator_loss(
        self, G: Generator, D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator
    ) -> Loss:
        return judge_prefixes(D, fake, real, rng) if self.config.reward == "prefix" else judge(D, fake, real)
