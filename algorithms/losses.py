"""The equations that papers share, one function each. Every reduction is named and explicit.

Logits everywhere, never probabilities: with l = log D - log(1 - D), -log D = softplus(-l) and
-log(1 - D) = softplus(l), so nothing has to be clamped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from algorithms.models.base import Discriminator
from algorithms.types import Loss, Sequences, join_sequences


def policy_gradient(log_prob: Tensor, credit: Tensor, mask: Tensor) -> Tensor:
    """REINFORCE: ``- sum_b sum_t credit_bt log G(y_bt | y_b,<t)``, a sum over B and T as SeqGAN has it.

    Args:
        log_prob: [B, T] log-probability of each sampled token, with gradient.
        credit: [B, T] what each token earned; a constant.
        mask: [B, T] bool, false on padding and on what has no probability.
    """
    return -(log_prob.masked_fill(~mask, 0.0) * credit.detach()).sum()


def mean_negative_log_likelihood(log_prob: Tensor, mask: Tensor) -> Tensor:
    """``- mean log G(y_t | y_<t)`` over the tokens that count, in nats per token; [B, T] both."""
    return -log_prob.masked_fill(~mask, 0.0).sum() / mask.sum()


def binary_cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """``- (mean log D(real) + mean log(1 - D(fake))) / 2`` from logits [B]: a mean over all examples.

    The half makes it the mean over a minibatch with equal parts of both, as in the authors' code.
    """
    return 0.5 * (softplus(-real).mean() + softplus(fake).mean())


def judge(D: Discriminator, fake: Sequences, real: Sequences) -> Loss:
    """A discriminator's cross-entropy on real and generated sequences, and its own penalty; beside it how
    many of either it tells right."""
    d_real, d_fake = D.judge(real, fake)  # [B] logits each
    return _cross_entropy(D, d_real, d_fake)


def judge_prefixes(D: Discriminator, fake: Sequences, real: Sequences, rng: torch.Generator) -> Loss:
    """The same of one prefix of each sequence, as long as chance will have it: from 1 token to all."""
    both = join_sequences([real, fake])
    share = torch.rand(len(both), generator=rng).to(both.lengths.device)
    last = (share * both.lengths).long()[:, None]  # [B, 1]
    logits = D.prefix_logits(both.tokens, both.source).gather(1, last)[:, 0]
    return _cross_entropy(D, logits[: len(real)], logits[len(real) :])


def _cross_entropy(D: Discriminator, d_real: Tensor, d_fake: Tensor) -> Loss:
    told = {
        "d/accuracy_real": (d_real > 0).float().mean(),
        "d/accuracy_fake": (d_fake < 0).float().mean(),
    }
    return Loss(binary_cross_entropy(d_real, d_fake) + D.regularization(), told)


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """``mean f(fake) - mean f(real)``, which a critic descends; its negative estimates the Wasserstein
    distance, up to f's Lipschitz constant. Values of the critic [B]. Arjovsky et al. 2017, Eq. 2."""
    return fake.mean() - real.mean()


def interpolate(real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """``epsilon real + (1 - epsilon) fake``, [B, ...] each, with epsilon [B]: one for each row."""
    share = epsilon.view(-1, *[1] * (real.dim() - 1))
    return share * real + (1 - share) * fake


def slope_norm(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``|| grad f(x) ||_2`` of each row, over all its entries, with a gradient of its own: [B].

    Args:
        f: a critic, [B, ...] -> [B]; each value must depend on its own row alone.
        x: [B, ...] a constant.
    """
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    return (slope.flatten(1).square().sum(1) + 1e-12).sqrt()  # a root has no slope at 0


def gradient_penalty(norm: Tensor, *, one_sided: bool = False) -> Tensor:
    """``mean (|| grad f(x^) ||_2 - 1)^2``: Gulrajani et al. 2017, Eq. 3.

    Args:
        norm: [B] at the interpolates.
        one_sided: whether norms below 1 cost nothing.
    """
    excess = (norm - 1).clamp_min(0) if one_sided else norm - 1
    return excess.square().mean()


@torch.no_grad()
def clip_parameters(net: nn.Module, c: float) -> None:
    """Every parameter of a network into [-c, c], in place: Arjovsky et al. 2017, Algorithm 1."""
    for parameter in net.parameters():
        parameter.clamp_(-c, c)


def whitened(credit: Tensor, mask: Tensor) -> Tensor:
    """Less the mean, in units of the standard deviation, over what counts in the whole batch; [B, T] both."""
    counted = credit[mask]
    scale = counted.std(correction=0).clamp_min(1e-8)
    return (credit - counted.mean()) / scale * mask


def log_mean_exp(logits: Tensor, dim: int) -> Tensor:
    """``log mean exp``: of logits, the logarithm of the mean of D / (1 - D)."""
    return logits.logsumexp(dim) - torch.tensor(float(logits.shape[dim])).log()


def shared_weights(log_weights: Tensor, counted: Tensor) -> Tensor:
    """exp(log_weights), divided by their mean over what counts in each group: a softmax times the number.

    From logits these are the D / (1 - D) of a group, normalised, without a division by 1 - D.

    Args:
        log_weights: [groups, members, ...].
        counted: the same shape, bool; what is false has weight 0.

    Returns:
        The weights, constants to the gradient.
    """
    flat, mask = log_weights.detach().flatten(1), counted.flatten(1)
    shares = flat.masked_fill(~mask, -torch.inf).softmax(1).where(mask, 0.0)
    return (shares * mask.sum(1, keepdim=True)).view_as(log_weights)


def effective_sample_size(weights: Tensor) -> Tensor:
    """``(sum w)^2 / sum w^2`` of each group, the mean over groups: 1 where one member has all the weight.

    Args:
        weights: [groups, members, ...], not negative; a group without any is left out.
    """
    flat = weights.flatten(1)
    flat = flat[flat.sum(1) > 0]
    return (flat.sum(1).square() / flat.square().sum(1)).sum() / max(1, len(flat))


def mean_of_others(credit: Tensor, mask: Tensor, size: int) -> Tensor:
    """Of each row the mean over what counts in the other rows of its group, so many neighbours; [B, T] both.

    Its own row is left out: what it earns later depends on its tokens, and would bias the gradient. 0 where
    there are no others.
    """
    sums, counts = (
        part.view(-1, size, credit.shape[1]).sum(2) for part in (credit * mask, mask)
    )  # [B / size, size]
    others, count = sums.sum(1, keepdim=True) - sums, counts.sum(1, keepdim=True) - counts
    return (others / count.clamp_min(1)).view(-1, 1).expand_as(credit)


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
