"""Scheduled sampling: maximum likelihood on the model's own mistakes, a baseline of SeqGAN's Table 1.

Bengio, Vinyals, Jaitly, Shazeer. NIPS 2015. https://arxiv.org/abs/1506.03099, section 2.4; linear decay

    min_theta  - mean_bt log G(y_bt | x_b,1 .. x_b,t),   x_b,t+1 = y_bt               with probability eps
                                                                   = a draw from G(. | x_b,1 .. x_b,t)   else
    eps = max(0, 1 - decay * epoch)

x_b,1 is the start symbol. The target is the real token whatever was fed, and no gradient goes through
the draw. A coin is tossed for every token of every sequence, as in the paper; at eps = 1 this is
maximum likelihood.

Departures: eps falls by epochs, as the SeqGAN paper has it, not by minibatches, and down to 0. The
SeqGAN authors' code of this baseline (LantaoYu/SeqGAN, commit 149b789) draws one coin for the whole
graph when it builds it, and compares it with eps from then on: real tokens alone are fed until some
epoch, drawn tokens alone ever after. It also lowers eps before the first epoch instead of after it.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from algorithms.base import Algorithm, PretrainingOnly
from algorithms.models.base import Generator
from algorithms.sampling import draw, log_prob_of, weigh
from algorithms.types import Loss, Sequences


class ScheduledSampling(PretrainingOnly):
    class Config(Algorithm.Config):
        name: Literal["scheduled_sampling"] = "scheduled_sampling"

        decay: float = Field(0.002, ge=0, le=1)
        """Taken from the probability of feeding the real token, per epoch."""

    config: Config

    def real_share(self, epoch: int) -> float:
        """eps: the probability that the real token is fed. Epochs count from 0, where it is 1."""
        return max(0.0, 1.0 - self.config.decay * epoch)

    def pretrain_loss(self, G: Generator, real: Sequences, epoch: int, rng: torch.Generator) -> Loss:
        Y, (B, T) = real.tokens, real.tokens.shape
        coins, uniform = torch.rand(2, B, T, generator=rng, device=rng.device).to(Y.device)  # [B, T] each
        keep = coins < self.real_share(epoch)
        state, fed = G.start(B, real.source), torch.full_like(Y[:, 0], G.alphabet.start)
        columns = []
        for t in range(T):
            logits, state = G.step(state, fed)  # [B, V]
            columns.append(log_prob_of(logits, Y[:, t]))
            fed = torch.where(keep[:, t], Y[:, t], draw(weigh(logits.detach()), uniform[:, t])[0])
        return self.likelihood_loss(torch.stack(columns, 1), real, G.alphabet)
