"""PG-BLEU: policy gradient on sentence BLEU, the strongest baseline of SeqGAN's Table 1.

Yu, Zhang, Wang, Yu. AAAI 2017. https://arxiv.org/abs/1609.05473, section 3

    Q(Y_1:t-1, y_t) = 1/N sum_n BLEU(Y^n_1:T, references),  Y^n ~ MC^G(Y_1:t; N)   t < T
                    = BLEU(Y_1:T, references)                                       t = T
    grad J = sum_t E[ grad log G(y_t | Y_1:t-1) * Q(Y_1:t-1, y_t) ]

It is SeqGAN with a fixed measure in place of D: no discriminator, and nothing else is learned.

The paper gives no more than the name; the rest follows the authors' first code (the folder pg_bleu
of LantaoYu/SeqGAN, commit 149b789): N = 1, BLEU-3, references drawn once from the training
sequences, each with probability 0.4; 200 epochs of maximum likelihood, then 800 steps, Adam at its
default rate 0.001 in both.

Departures: zero numerators are smoothed (nltk's method1; there: nltk without smoothing). The
references are exactly the share, not one coin each. After the end symbol there is no credit, and it
is no word (there: fixed lengths). The rate and the number of steps are the recipe's, whose defaults
are SeqGAN's.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from algorithms.base import Algorithm, Stage
from algorithms.bleu import References
from algorithms.losses import policy_gradient
from algorithms.models.base import Discriminator, Generator
from algorithms.types import Loss, Rollouts, RolloutSpec, Sequences


class PGBLEU(Algorithm):
    stages: ClassVar[tuple[Stage, ...]] = ("pretrain_generator", "adversarial")
    has_discriminator: ClassVar[bool] = False

    class Config(Algorithm.Config):
        name: Literal["pg_bleu"] = "pg_bleu"

        completions: int = Field(1, ge=1)
        """N, Monte Carlo completions per prefix."""

        order: Literal[2, 3, 4] = 3
        """n of BLEU-n."""

        reference_share: float = Field(0.4, gt=0, le=1)
        """Share of the training sequences, drawn at random once, that BLEU compares with."""

        d_steps: int = Field(0, ge=0, le=0)
        """There is no discriminator to train."""

    config: Config

    def choose_references(self, real: Sequences, end: int | None, rng: torch.Generator) -> References:
        """The reference set: a random share of the training sequences, at least one, without replacement.

        Args:
            real: the training sequences.
            end: the alphabet's end symbol, or None.
            rng: draws the share; the same state draws the same references.
        """
        kept = max(1, round(self.config.reference_share * len(real)))
        rows = torch.randperm(len(real), generator=rng, device=rng.device)[:kept].sort().values
        return References(real.select(rows.to(real.tokens.device)), end, order=self.config.order)

    def rollouts(self, step: int) -> RolloutSpec:
        return RolloutSpec(completions=self.config.completions, scores=(f"bleu_{self.config.order}",))

    def credit(self, fake: Rollouts) -> Tensor:
        return fake.scores[..., 0].mean(-1)  # [B, T]

    def generator_loss(
        self, G: Generator, D: Discriminator, fake: Rollouts, real: Sequences, rng: torch.Generator
    ) -> Loss:
        Y = fake.sequences
        log_prob = G.log_prob(Y.tokens, Y.source)  # [B, T]
        return Loss(policy_gradient(log_prob, self.credit(fake), Y.mask))

    def discriminator_loss(
        self, G: Generator, D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator
    ) -> Loss:
        raise ValueError("pg_bleu has no discriminator: BLEU is its reward")
