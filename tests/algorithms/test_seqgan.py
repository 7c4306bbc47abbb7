"""SeqGAN's equations against numbers worked out by hand: N = 2, T = 2."""

from __future__ import annotations

from math import log
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from algorithms.models.text_cnn import TextCNN
from algorithms.seqgan import SeqGAN
from algorithms.types import Alphabet, Rollouts, RolloutSpec, Sequences
from toys import NgramGenerator, TabularDiscriminator
from toys.coins import COINS, coin, rng

Baseline = Literal["none", "position_mean", "neighbour"]
BASELINES: tuple[Baseline, ...] = ("none", "position_mean", "neighbour")


def logit(p: float) -> float:
    return log(p / (1 - p))


def sequences(rows: list[list[int]], alphabet: Alphabet = COINS) -> Sequences:
    tokens = torch.tensor(rows)
    return Sequences(tokens, alphabet.lengths(tokens))


def two_rollouts() -> Rollouts:
    """D of the completions of the first token: (0.5, 0.75) and (0.8, 0.2); of the sequences: 0.25 and 0.9."""
    D = torch.tensor([[[0.5, 0.75], [0.25, 0.25]], [[0.8, 0.2], [0.9, 0.9]]])  # [B, T, N]
    Y = sequences([[1, 1], [0, 1]])
    return Rollouts(Y, torch.zeros(2, 2), D.logit()[..., None])


def credit(baseline: Baseline) -> Tensor:
    return SeqGAN(SeqGAN.Config(completions=2, baseline=baseline)).credit(two_rollouts())


def loss(fake: Rollouts, G: NgramGenerator, baseline: Baseline = "none") -> Tensor:
    algorithm = SeqGAN(SeqGAN.Config(completions=2, baseline=baseline))
    D = TabularDiscriminator(G.alphabet, G.length)
    return algorithm.generator_loss(G, D, fake, fake.sequences, rng()).value


def test_equation_4() -> None:
    # the mean of probabilities, not the probability of the mean logit: row 0 would be 0.634 at t = 1
    assert_close(credit("none"), torch.tensor([[0.625, 0.25], [0.5, 0.9]]))


def test_logits_instead_of_probabilities() -> None:
    # log 3 and log 4 are the logits of 0.75 and 0.8; those of 0.8 and 0.2 cancel
    rewarded = SeqGAN(SeqGAN.Config(completions=2, reward="logit")).credit(two_rollouts())
    assert_close(rewarded, torch.tensor([[log(3) / 2, -log(3)], [0.0, log(9)]]), atol=1e-6, rtol=0)


def test_baselines() -> None:
    # means 0.5625 and 0.575
    expected = torch.tensor([[0.0625, -0.325], [-0.0625, 0.325]])
    assert_close(credit("position_mean"), expected)
    # the first token from 0.5625, the second from the first
    assert_close(credit("neighbour"), torch.tensor([[0.0625, 0.25 - 0.625], [-0.0625, 0.9 - 0.5]]))


def test_equation_7() -> None:
    G = coin(0.8)
    value = loss(two_rollouts(), G)
    by_hand = -((0.625 + 0.25 + 0.9) * log(0.8) + 0.5 * log(0.2))
    assert_close(value, torch.tensor(by_hand))
    value.backward()
    # d log p(y) / d logit_1 = 1[y = 1] - 0.8
    slope = -((0.625 + 0.25 + 0.9) * 0.2 + 0.5 * -0.8)
    assert_close(G.logits.grad, torch.tensor([[-slope, slope]]), atol=1e-6, rtol=0)


def test_the_expected_gradient_is_that_of_the_expected_reward() -> None:
    """Eq. 7 summed over all sequences with their probabilities is the derivative of sum_Y G(Y) D(Y)."""
    p, D = 0.8, torch.tensor([[0.1, 0.7], [0.4, 0.9]])  # D of the sequence (i, j)
    step = 1e-4
    G = coin(p)
    total = torch.zeros(())
    for i in (0, 1):
        for j in (0, 1):
            Q = torch.stack([(1 - p) * D[i, 0] + p * D[i, 1], D[i, j]])  # exact, in place of the mean over N
            fake = Rollouts(
                sequences([[i, j]]), torch.zeros(1, 2), Q.logit()[None, :, None, None].expand(1, 2, 2, 1)
            )
            total = total + (p if i else 1 - p) * (p if j else 1 - p) * loss(fake, G)
    total.backward()

    def expected(heads: float) -> float:
        tails = 1 - heads
        return float(tails**2 * 0.1 + tails * heads * (0.7 + 0.4) + heads**2 * 0.9)

    slope = (expected(p + step) - expected(p - step)) / (2 * step)
    assert G.logits.grad is not None
    # the loss descends; d p / d logit_1 = p (1 - p)
    assert_close(G.logits.grad[0, 1], torch.tensor(-slope * p * (1 - p)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("baseline", BASELINES)
def test_scores_past_the_end_do_not_matter(baseline: Baseline) -> None:
    alphabet = Alphabet(size=3, end=2)
    Y = sequences([[1, 1], [2, 0], [0, 2]], alphabet)  # the second has ended after its first token
    scores = torch.linspace(-2, 2, 12).view(3, 2, 2, 1)
    other = scores.clone()
    other[1, 1] = 50.0
    running = other.clone()
    running[0, 1] = 50.0

    def gradient(some: Tensor) -> Tensor:
        G = NgramGenerator(alphabet, 2)
        loss(Rollouts(Y, torch.zeros(3, 2), some), G, baseline).backward()
        assert G.logits.grad is not None
        return G.logits.grad

    assert_close(gradient(other), gradient(scores))
    assert not torch.allclose(gradient(running), gradient(scores))


def test_equation_5() -> None:
    D = TabularDiscriminator(COINS, 2)
    # the sequences 00, 01, 10, 11 in this order
    D.load_state_dict({"table": torch.tensor([logit(0.75), logit(0.2), logit(0.6), logit(0.4)])})
    real, fake = sequences([[0, 0], [0, 0], [0, 0], [1, 1]]), sequences([[0, 1], [1, 0], [1, 0], [1, 0]])
    found = SeqGAN(SeqGAN.Config()).discriminator_loss(coin(0.5), D, fake, real, rng())
    # D(real) = 0.75 three times, 0.4; D(fake) = 0.2, 0.6 three times
    by_hand = -0.5 * ((3 * log(0.75) + log(0.4)) / 4 + (log(0.8) + 3 * log(0.4)) / 4)
    assert_close(found.value, torch.tensor(by_hand))
    accuracies = {name: value.item() for name, value in found.metrics.items()}
    assert accuracies == {"d/accuracy_real": 0.75, "d/accuracy_fake": 0.25}
    found.value.backward()
    # d / d logit of -log D is D - 1, of -log(1 - D) it is D; each example is an eighth of the mean
    assert_close(D.table.grad, torch.tensor([3 * (0.75 - 1), 0.2, 3 * 0.6, 0.4 - 1]) / 8)


def test_the_penalty_of_the_discriminator_is_part_of_its_loss() -> None:
    torch.manual_seed(0)
    D = TextCNN.Config(embedding=2, filters=((1, 2),)).build(COINS, 2).eval()
    real, fake = sequences([[0, 0]]), sequences([[0, 1]])
    seqgan = SeqGAN(SeqGAN.Config())
    with_it = seqgan.discriminator_loss(coin(0.5), D, fake, real, rng()).value
    penalty = D.regularization()
    D.l2 = 0.0
    without = seqgan.discriminator_loss(coin(0.5), D, fake, real, rng()).value
    assert penalty > 0
    assert_close(with_it, without + penalty)


def test_what_it_needs_and_the_defaults_of_the_paper() -> None:
    config = SeqGAN.Config()
    assert SeqGAN(config).rollouts(0) == RolloutSpec(samples=1, completions=16, clamp=0)
    assert (config.g_steps, config.d_steps, config.d_epochs) == (1, 5, 3)
    assert (config.policy_delay, config.baseline) == (0.0, "none")
    assert (config.generator_lr, config.discriminator_lr) == (1e-2, 1e-4)


def wasserstein(**settings) -> SeqGAN:
    return SeqGAN(SeqGAN.Config(completions=2, discriminator_loss="wasserstein", **settings))


def test_a_critics_value_is_whitened() -> None:
    # a critic's values are the logits of (0.5, 0.75), 0.25, (0.8, 0.2), 0.9: their means over completions
    Q = torch.tensor([[log(3) / 2, -log(3)], [0.0, log(9)]])
    spread = (Q - Q.mean()).square().mean().sqrt()
    credit = wasserstein().credit(two_rollouts())
    assert_close(credit, (Q - Q.mean()) / spread, atol=1e-6, rtol=0)
    assert_close(credit.mean(), torch.zeros(()), atol=1e-6, rtol=0)
    assert_close(credit.std(correction=0), torch.ones(()), atol=1e-6, rtol=0)


def test_a_critic_descends_the_difference_of_its_means_and_is_clipped() -> None:
    D = TabularDiscriminator(COINS, 2)
    real, fake = sequences([[1, 1], [0, 1]]), sequences([[0, 0], [0, 1]])
    algorithm = wasserstein(clip=0.2)
    loss = algorithm.discriminator_loss(coin(0.5), D, fake, real, rng())
    expected = D.logits(fake.tokens).mean() - D.logits(real.tokens).mean()
    assert_close(loss.value, expected)
    assert_close(loss.metrics["d/wasserstein"], -expected.detach())
    assert type(algorithm.optimizer(D, 1e-3)) is torch.optim.RMSprop
    assert type(algorithm.optimizer(coin(0.5), 1e-3)) is torch.optim.Adam
    with torch.no_grad():
        for parameter in D.parameters():
            parameter += 1.0
    algorithm.constrain(D)
    assert all((parameter.abs() <= 0.2).all() for parameter in D.parameters())
    assert not algorithm.has_logit
