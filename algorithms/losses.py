"""The equations that papers share, one function each. Every reduction is named and explicit.

Logits everywhere, never probabilities: with l = log D - log(1 - D), -log D = softplus(-l) and
-log(1 - D) = softplus(l), so nothing has to be clamped.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def policy_gradient(log_prob: Tensor, credit: Tensor, mask: Tensor) -> Tensor:
    """REINFORCE: ``- sum_b sum_t credit_bt log G(y_bt | y_b,<t)``, a sum over B and T as SeqGAN has it.

    Args:
        log_prob: [B, T] log-probability of each sampled token, with gradient.
        credit: [B, T] what each token earned; a constant.
        mask: [B, T] bool, false on padding.
    """
    return -(log_prob * credit.detach() * mask).sum()


def mean_negative_log_likelihood(log_prob: Tensor, mask: Tensor) -> Tensor:
    """``- mean log G(y_t | y_<t)`` over the tokens that count, in nats per token; [B, T] both."""
    return -(log_prob * mask).sum() / mask.sum()


def binary_cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """``- (mean log D(real) + mean log(1 - D(fake))) / 2`` from logits [B]: a mean over all examples.

    The half makes it the mean over a minibatch with equal parts of both, as in the authors' code.
    """
    return 0.5 * (softplus(-real).mean() + softplus(fake).mean())


def subtract_position_mean(credit: Tensor, mask: Tensor) -> Tensor:
    """Credit minus its batch mean at each position, over the rows that are still running; [B, T]."""
    count = mask.sum(0).clamp_min(1)  # [T]
    return credit - (credit * mask).sum(0) / count


def difference_of_neighbours(credit: Tensor, mask: Tensor) -> Tensor:
    """Credit of token t minus that of token t - 1: what the token itself changed; [B, T].

    The first token has no neighbour: the batch mean at position 1 stands in. VinePPO
    (arXiv 2410.01679) for values of neighbouring states.
    """
    previous = credit.roll(1, dims=1)
    previous[:, 0] = credit[:, 0].mean()
    return (credit - previous) * mask
