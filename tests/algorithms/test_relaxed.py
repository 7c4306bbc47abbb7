"""What critics of relaxed symbols are asked: one epsilon a sample, one norm a sample, one step one way."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from algorithms.losses import gradient_penalty, interpolate, slope_norm
from algorithms.models.base import Discriminator
from algorithms.models.residual_conv import ResidualConvDiscriminator, ResidualConvGenerator
from algorithms.relaxed import Relaxed, norm_between, pair
from algorithms.types import Alphabet, Sequences, Source
from algorithms.wgan import WGAN
from algorithms.wgan_gp import WGANGP
from toys.coins import coin, rng

SYMBOLS = Alphabet(size=4)
T = 3
both = pytest.mark.parametrize("algorithm", [WGAN, WGANGP])


class Linear(Discriminator):
    """f(x) = sum of w * x: its gradient is w wherever one looks."""

    takes_relaxed = True

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        return (tokens * self.w).sum((1, 2))


def networks() -> tuple[ResidualConvGenerator, ResidualConvDiscriminator]:
    torch.manual_seed(0)
    G = ResidualConvGenerator.Config(latent=2, dim=4, blocks=1, width=3).build(SYMBOLS, T)
    return G, ResidualConvDiscriminator.Config(dim=4, blocks=1, width=3).build(SYMBOLS, T)


def both_sides(G: ResidualConvGenerator, count: int = 5) -> tuple[Sequences, Sequences]:
    """Real sequences, and the latents of as many generated ones."""
    real = torch.randint(4, (count, T), generator=torch.Generator().manual_seed(1))
    z = torch.randn(count, 2, generator=torch.Generator().manual_seed(2))
    lengths = torch.full((count,), T)
    return Sequences(real, lengths), Sequences(torch.zeros_like(real), lengths, Source(vector=z))


def test_the_norm_is_that_of_a_sample_over_positions_and_symbols():
    """A known port takes it over the symbols of each position: T norms of this w, all far from its own."""
    w = torch.arange(12.0).view(T, 4)
    D, (G, _) = Linear(w), networks()
    x, fake = pair(G, *both_sides(G))
    norm = norm_between(D, x, fake, rng())
    assert_close(norm, torch.full((5,), 506.0).sqrt())  # 0 + 1 + 4 + ... + 121
    assert_close(gradient_penalty(norm), torch.tensor((506.0**0.5 - 1) ** 2))


@pytest.mark.parametrize("length", [0.5, 1.0, 3.0])
def test_the_penalty_of_a_linear_critic_is_exact(length: float):
    w = torch.ones(T, 4) * length / 12**0.5
    D, (G, _) = Linear(w), networks()
    x, fake = pair(G, *both_sides(G))
    norm = norm_between(D, x, fake, rng())
    assert_close(gradient_penalty(norm), torch.tensor((length - 1) ** 2), atol=1e-5, rtol=1e-5)
    assert_close(
        gradient_penalty(norm, one_sided=True), torch.tensor(max(0.0, length - 1) ** 2), atol=1e-5, rtol=1e-5
    )
    # d (|w| - 1)^2 / d w = 2 (|w| - 1) w / |w|
    (slope,) = torch.autograd.grad(gradient_penalty(norm), [D.w])
    assert_close(slope, 2 * (length - 1) * w / length, atol=1e-5, rtol=1e-5)


def test_a_gradient_of_zero_has_a_finite_penalty_and_slope():
    D, (G, _) = Linear(torch.zeros(T, 4)), networks()
    x, fake = pair(G, *both_sides(G))
    penalty = gradient_penalty(norm_between(D, x, fake, rng()))
    assert_close(penalty, torch.tensor(1.0), atol=1e-5, rtol=0)
    assert torch.autograd.grad(penalty, [D.w])[0].isfinite().all()


def test_epsilon_is_one_number_a_sample():
    real, fake = torch.zeros(3, T, 4), torch.ones(3, T, 4)
    mixed = interpolate(real, fake, torch.tensor([0.0, 0.25, 1.0]))
    for row, expected in zip(mixed, (1.0, 0.75, 0.0), strict=True):
        assert_close(row, torch.full((T, 4), expected))
    seen: list[Tensor] = []

    class Watching(Linear):
        def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
            seen.append(tokens.detach())
            return super().logits(tokens)

    norm_between(Watching(torch.ones(T, 4)), real, fake, rng())
    (where,) = seen
    assert all(len(row.unique()) == 1 for row in where)
    assert len(where[:, 0, 0].unique()) == 3
    assert ((where >= 0) & (where <= 1)).all()


def test_a_norm_does_not_depend_on_its_neighbours():
    G, D = networks()
    x, fake = pair(G, *both_sides(G))
    points = interpolate(x, fake, torch.linspace(0, 1, 5))
    together = slope_norm(D.logits, points)
    alone = torch.cat([slope_norm(D.logits, points[i : i + 1]) for i in range(5)])
    assert_close(together, alone)


@both
def test_a_critic_step_moves_no_generator_and_the_other_way_round(algorithm: type[Relaxed]):
    G, D = networks()
    built, (real, fake) = algorithm(algorithm.Config()), both_sides(G)
    before = copy.deepcopy((G.state_dict(), D.state_dict()))
    loss = built.discriminator_loss(G, D, fake, real, rng()).value
    slopes = torch.autograd.grad(loss, list(G.parameters()), allow_unused=True, retain_graph=True)
    assert slopes == (None,) * len(slopes)
    optimizer = built.optimizer(D, 0.1)
    for parameter, slope in zip(
        D.parameters(), torch.autograd.grad(loss, list(D.parameters()), allow_unused=True), strict=True
    ):
        parameter.grad = slope
    optimizer.step()
    assert all(torch.equal(G.state_dict()[key], value) for key, value in before[0].items())
    assert any(not torch.equal(D.state_dict()[key], value) for key, value in before[1].items())


@both
def test_nothing_is_drawn_and_a_generator_with_tokens_alone_is_refused(algorithm: type[Relaxed]):
    built, (real, fake) = algorithm(algorithm.Config()), both_sides(networks()[0])
    for spec in (built.rollouts(0), built.negatives(0)):
        assert not spec.drawn
        assert not spec.scores
    coins = Sequences(real.tokens % 2, real.lengths)
    with pytest.raises(ValueError, match="no relaxed symbols"):
        built.discriminator_loss(coin(0.5), networks()[1], fake, coins, rng())
