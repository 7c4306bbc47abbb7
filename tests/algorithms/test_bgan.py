"""BGAN's weights, estimators and divergences by hand, and the theorem where all can be enumerated."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from algorithms.bgan import BGAN, DIVERGENCES
from algorithms.types import Alphabet, Rollouts, Sequences
from toys import NgramGenerator, TabularDiscriminator, all_sequences
from toys.coins import COINS, coin, rng

WORDS = Alphabet(size=3)


def bgan(**settings) -> BGAN:
    return BGAN(BGAN.Config(**settings))


def rolled(rows: list[list[int]], F: list[float]) -> Rollouts:
    tokens = torch.tensor(rows)
    Y = Sequences(tokens, COINS.lengths(tokens))
    return Rollouts(Y, torch.zeros(tokens.shape), torch.tensor(F)[:, None, None, None])


def loss(algorithm: BGAN, fake: Rollouts, G: NgramGenerator):
    return algorithm.generator_loss(G, TabularDiscriminator(G.alphabet, 2), fake, fake.sequences, rng())


def test_equation_4_by_hand():
    # one latent, three samples: D = 3/4, 1/2, 1/4: w = 3, 1, 1/3; normalised 9/13, 3/13, 1/13
    fake, G = rolled([[1, 1], [0, 1], [0, 0]], [log(3), 0.0, -log(3)]), coin(0.8)
    value = loss(bgan(samples=3), fake, G)
    likelihood = 9 / 13 * 2 * log(0.8) + 3 / 13 * (log(0.2) + log(0.8)) + 1 / 13 * 2 * log(0.2)
    assert_close(value.value, torch.tensor(-likelihood), atol=1e-6, rtol=0)
    # log Z = log (3 + 1 + 1/3) / 3; the effective size 1 / (81 + 9 + 1) * 169
    assert value.metrics["adv/log_partition"].item() == pytest.approx(log(13 / 9))
    assert value.metrics["adv/effective_sample_size"].item() == pytest.approx(169 / 91)


def test_each_latent_is_a_group_of_its_own():
    fake = rolled([[1, 1], [0, 1], [1, 0], [0, 0]], [5.0, 5.0, 1.0, 0.0])
    credit = bgan(samples=2).credit(fake)[:, 0]
    assert_close(credit, torch.tensor([1.0, 1.0, 2 * exp(1) / (1 + exp(1)), 2 / (1 + exp(1))]))
    assert_close(bgan(samples=1).credit(fake)[:, 0], 4 * torch.tensor([5.0, 5.0, 1.0, 0.0]).softmax(0))


def test_equation_5_and_its_moving_average_by_hand():
    algorithm = bgan(samples=2, estimator="reinforce", baseline_decay=0.5)
    first, second = rolled([[1, 1], [0, 1]], [log(3), 0.0]), rolled([[1, 1], [0, 1]], [log(5), log(3)])
    assert_close(algorithm.credit(first)[:, 1], torch.tensor([log(3), 0.0]) - log(2) - 1)
    G = coin(0.8)
    value = loss(algorithm, first, G).value
    by_hand = (log(3) - log(2) - 1) * 2 * log(0.8) + (-log(2) - 1) * (log(0.2) + log(0.8))
    assert_close(value, torch.tensor(-by_hand / 2), atol=1e-6, rtol=0)
    loss(algorithm, second, G)  # log Z of its group: log 4
    assert algorithm.moving.item() == pytest.approx((log(2) + log(4)) / 2)
    assert_close(algorithm.credit(second)[:, 0], torch.tensor([log(5), log(3)]) - 1.5 * log(2) - 1)
    resumed = bgan(samples=2, estimator="reinforce", baseline_decay=0.5)
    resumed.load_state_dict(algorithm.state_dict())
    assert torch.equal(resumed.credit(second), algorithm.credit(second))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_weights_are_the_slopes_of_the_conjugates(name: str):
    """Equation 2: w = d f*(T) / d T, by the chain rule over F, with T and f*(T) as D's loss has them."""
    F = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64, requires_grad=True)
    log_w, minus_T, conjugate = DIVERGENCES[name]
    (slope_T,) = torch.autograd.grad(-minus_T(F).sum(), F)
    (slope_f,) = torch.autograd.grad(conjugate(F).sum(), F)
    assert_close(log_w(F).exp(), slope_f / slope_T)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_at_the_best_discriminator_the_weight_is_the_ratio(name: str):
    """Equation 1 over two outcomes: where its slope is zero, w = p / q."""
    p, q = torch.tensor([0.7, 0.3], dtype=torch.float64), torch.tensor([0.4, 0.6], dtype=torch.float64)
    log_w, minus_T, conjugate = DIVERGENCES[name]
    F = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([F], lr=0.5, max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = (p * minus_T(F) + q * conjugate(F)).sum()
        value.backward()
        return value

    optimizer.step(closure)
    assert_close(log_w(F).exp().detach(), p / q, atol=1e-5, rtol=0)


def test_what_the_discriminator_descends_by_hand():
    D = TabularDiscriminator(COINS, 2)
    with torch.no_grad():
        D.table.copy_(torch.tensor([0.5, -1.0, 2.0, 0.0]))
    real, fake = (
        Sequences(torch.tensor(rows), torch.full((2,), 2)) for rows in ([[1, 0], [1, 1]], [[0, 0], [0, 1]])
    )
    by_hand = {
        "gan": (log(1 + exp(-2)) + log(2)) / 2 + (log(1 + exp(0.5)) + log(1 + exp(-1))) / 2,
        "kl": (-2 + 0) / 2 + (exp(-0.5) + exp(-2)) / 2,
        "reverse_kl": (exp(-2) + 1) / 2 + (-0.5 - 2) / 2,
        "squared_hellinger": (exp(-2) - 1 + 0) / 2 + (exp(0.5) - 1 + exp(-1) - 1) / 2,
    }
    for name, expected in by_hand.items():
        value = bgan(divergence=name).discriminator_loss(coin(0.5), D, fake, real, rng()).value
        assert value.item() == pytest.approx(expected / 2, abs=1e-6), name


def test_with_the_best_discriminator_the_adversarial_stage_halves_the_divergence():
    data, G = (NgramGenerator(WORDS, 2, n=2, seed=seed).double() for seed in (3, 4))
    x = all_sequences(WORDS, 2)
    log_data = data.log_prob(x).sum(1).detach()

    def divergence() -> float:
        return (log_data.exp() * (log_data - G.log_prob(x).sum(1).detach())).sum().item()

    start, algorithm = divergence(), bgan(samples=64)
    for step in range(60):
        log_G = G.log_prob(x).sum(1).detach()
        drawn = torch.multinomial(
            log_G.exp(), 64, replacement=True, generator=torch.Generator().manual_seed(step)
        )
        tokens = x[drawn]
        scores = (log_data - log_G)[drawn][:, None, None, None]
        fake = Rollouts(Sequences(tokens, WORDS.lengths(tokens)), torch.zeros(tokens.shape), scores)
        G.zero_grad()
        loss(algorithm, fake, G).value.backward()
        with torch.no_grad():
            G.logits -= 0.5 * G.logits.grad
    assert divergence() < start / 2
