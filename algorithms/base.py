"""What an algorithm is: data about the rollouts that it needs, and two losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from algorithms.bleu import References
from algorithms.config import Frozen
from algorithms.losses import mean_negative_log_likelihood, policy_gradient
from algorithms.models.base import Discriminator, Generator
from algorithms.tf_idf import TfIdf
from algorithms.types import Alphabet, Loss, Rollouts, RolloutSpec, Sequences

Stage = Literal["pretrain_generator", "pretrain_discriminator", "adversarial"]


class Algorithm(nn.Module):
    """One paper. A module, so that what it learns itself (a critic, a moving average) is checkpointed.

    Attributes:
        stages: what a run of it goes through, in order.
        has_discriminator: whether there is one to train.
        discriminator_first: whether a step begins with the discriminator's phases, not with the generator.
        relaxes: whether its losses go through the generator's relaxed symbols; then no token is drawn and no
            sequence has a reward.
    """

    stages: ClassVar[tuple[Stage, ...]] = ("pretrain_generator", "pretrain_discriminator", "adversarial")
    has_discriminator: ClassVar[bool] = True
    discriminator_first: ClassVar[bool] = False
    relaxes: ClassVar[bool] = False

    class Config(Frozen):
        """What every adversarial recipe sets; the defaults are SeqGAN's."""

        name: str

        g_steps: int = Field(1, ge=1)
        """Generator updates per step."""

        d_steps: int = Field(5, ge=0)
        """Discriminator phases per step, each on fresh negatives."""

        d_epochs: int = Field(3, ge=1)
        """k, epochs over positives and negatives in each discriminator phase."""

        d_sequences: int | None = Field(None, ge=1)
        """Real sequences that each of these phases sees, others every time, beside as many negatives. Empty:
        all of them, as in the papers. Fewer make a weaker discriminator and a quicker step."""

        d_batch: int | None = Field(None, ge=1)
        """Real sequences in a minibatch of D, beside as many negatives. Empty: half of batch_size."""

        generator_lr: float = Field(1e-2, gt=0, le=10)
        """Rate of the adversarial generator updates."""

        generator_lr_decay: float = Field(0.0, ge=0, le=1)
        """Share of the steps, the last ones, in which that rate falls to zero along half a cosine."""

        discriminator_lr: float = Field(1e-4, gt=0, le=10)
        """Rate of the discriminator, in pretraining and after."""

        optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
        """What descends the adversarial losses of G, and those of D, pretraining included."""

        max_grad_norm: float | None = Field(5.0, gt=0)
        """The generator's gradient is scaled down to this global norm. Empty: never."""

        teacher_forcing: float = Field(0.0, ge=0)
        """Weight of the likelihood of real sequences, a sum over T and a mean over B, in an update of G after
        each adversarial one. 0: none."""

        tf_idf: bool = False
        """Whether the likelihood of a real sequence counts by the tf-idf of its words: dull ones less."""

        stop_words: int = Field(50, ge=0)
        """Most frequent symbols, which do not count in that."""

        policy_delay: float = Field(0.0, ge=0, lt=1)
        """Rollout policy after each step: delay * old + (1 - delay) * generator. 0: always the generator."""

    config: Config
    tf_idf: TfIdf | None

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.tf_idf = config, None

    @property
    def has_logit(self) -> bool:
        """Whether D's value is a logit, above 0 for what it holds for real; a critic's is not."""
        return not self.relaxes

    def pretrain_loss(self, G: Generator, real: Sequences, epoch: int, rng: torch.Generator) -> Loss:
        """What the generator descends before it meets a discriminator: maximum likelihood, mean per token."""
        return self.likelihood_loss(G.log_prob(real.tokens, real.source), real, G.alphabet)

    def likelihood_loss(self, log_prob: Tensor, real: Sequences, alphabet: Alphabet) -> Loss:
        """The negative mean log-probability [B, T] of real tokens, each sequence by its weight."""
        if self.tf_idf is not None:
            log_prob = log_prob * self.tf_idf(real)[:, None]
        return Loss(mean_negative_log_likelihood(log_prob, alphabet.emitted(real.tokens)))

    def study(self, real: Sequences, alphabet: Alphabet) -> None:
        """Learns what it wants to know of all real sequences, before anything is trained."""
        if self.tf_idf is not None:
            self.tf_idf.learn(real, alphabet)

    def prepare(self, alphabet: Alphabet, length: int) -> None:
        """Makes the networks of its own, once, before anything else is asked.

        Raises:
            ValueError: they cannot be made for this alphabet and length.
        """
        self.tf_idf = TfIdf(alphabet.size, self.config.stop_words) if self.config.tf_idf else None

    def own_optimizer(self) -> torch.optim.Optimizer | None:
        """What descends ``own_loss``; None where it has no network of its own."""
        return None

    def own_loss(self, fake: Rollouts, rng: torch.Generator) -> Loss | None:
        """What its own network descends after each update of the generator."""
        return None

    def teacher_forcing(self, G: Generator, real: Sequences, rng: torch.Generator) -> Loss | None:
        """What G descends on real sequences after each of its adversarial updates, if anything."""
        weight = self.config.teacher_forcing
        if not weight:
            return None
        log_prob = G.log_prob(real.tokens, real.source)  # [B, T]
        credit = torch.ones_like(log_prob)
        if self.tf_idf is not None:
            credit = self.tf_idf(real)[:, None].expand_as(log_prob)
        return Loss(weight * policy_gradient(log_prob, credit, G.alphabet.emitted(real.tokens)) / len(real))

    def optimizer(self, net: nn.Module, lr: float) -> torch.optim.Optimizer:
        """What descends the adversarial losses of G, or those of D, pretraining included."""
        match self.config.optimizer:
            case "adam":
                return torch.optim.Adam(net.parameters(), lr=lr, fused=True)
            case "sgd":
                return torch.optim.SGD(net.parameters(), lr=lr)
            case "rmsprop":
                return torch.optim.RMSprop(net.parameters(), lr=lr)

    def d_phases(self, step: int) -> int:
        """Discriminator phases of this step; a pure function of the step."""
        return self.config.d_steps

    def constrain(self, D: Discriminator) -> None:
        """Changes D's parameters in place after each of its updates; nothing by default."""

    def remarks(self) -> Sequence[str]:
        """What is unwise about this configuration, for the log."""
        return ()

    def choose_references(self, real: Sequences, end: int | None, rng: torch.Generator) -> References | None:
        """The real sequences that its scores compare with; they travel to the workers. None by default."""
        return None

    @abstractmethod
    def rollouts(self, step: int) -> RolloutSpec:
        """What the generator's update at this step needs; a pure function of the step."""

    def negatives(self, step: int) -> RolloutSpec:
        """What the discriminator learns to tell from real sequences at this step; nobody scores it.

        With a ``clamp`` each begins as the real sequence of the same number does.
        """
        return RolloutSpec(scores=())

    @abstractmethod
    def credit(self, fake: Rollouts) -> Tensor:
        """What each token earned: [B, T], a constant to the gradient."""

    @abstractmethod
    def generator_loss(
        self, G: Generator, D: Discriminator, fake: Rollouts, real: Sequences, rng: torch.Generator
    ) -> Loss:
        """What G descends: the trainer takes the gradient of its parameters and of no others."""

    @abstractmethod
    def discriminator_loss(
        self, G: Generator, D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator
    ) -> Loss:
        """What D descends, likewise."""


class PretrainingOnly(Algorithm):
    """The base of what has no adversarial stage."""

    stages: ClassVar[tuple[Stage, ...]] = ("pretrain_generator",)
    has_discriminator: ClassVar[bool] = False

    def rollouts(self, step: int) -> RolloutSpec:
        return RolloutSpec()

    def credit(self, fake: Rollouts) -> Tensor:
        return torch.zeros_like(fake.log_prob)

    def generator_loss(
        self, G: Generator, D: Discriminator, fake: Rollouts, real: Sequences, rng: torch.Generator
    ) -> Loss:
        raise ValueError(f"{self.config.name} has no adversarial stage")

    def discriminator_loss(
        self, G: Generator, D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator
    ) -> Loss:
        raise ValueError(f"{self.config.name} has no adversarial stage")
