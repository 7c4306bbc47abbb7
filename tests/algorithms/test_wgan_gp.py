"""WGAN-GP: its critic's loss put together by hand, and the settings of the authors' script."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from algorithms.models.base import Discriminator
from algorithms.models.residual_conv import ResidualConvGenerator
from algorithms.types import Alphabet, Rollouts, Sequences, Source
from algorithms.wgan_gp import WGANGP
from toys.coins import rng

SYMBOLS = Alphabet(size=3)


class Square(Discriminator):
    """f(x) = a sum x^2 / 2: its gradient is a x, of norm a |x|."""

    takes_relaxed = True

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))

    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        return self.a * tokens.square().sum((1, 2)) / 2


def test_the_critics_loss_by_hand():
    torch.manual_seed(0)
    G = ResidualConvGenerator.Config(latent=2, dim=2, blocks=0, width=1).build(SYMBOLS, 2)
    with torch.no_grad():
        G.output.weight.zero_()
        G.output.bias.zero_()  # every symbol a third
    a, D = 2.0, Square(2.0)
    real = Sequences(torch.tensor([[0, 1], [2, 2]]), torch.full((2,), 2))
    fake = Sequences(torch.zeros(2, 2, dtype=torch.int64), real.lengths, Source(vector=torch.zeros(2, 2)))
    e = torch.rand(2, generator=rng())
    # one-hot rows have x^2 = 2 in all, even thirds 2/3; between them one entry of each position is
    # e + (1 - e) / 3 and two are (1 - e) / 3
    high, low = e + (1 - e) / 3, (1 - e) / 3
    norm = a * (2 * (high.square() + 2 * low.square())).sqrt()
    expected = a / 3 - a + 10 * (norm - 1).square().mean()
    loss = WGANGP(WGANGP.Config()).discriminator_loss(G, D, fake, real, rng())
    assert_close(loss.value, expected)
    assert_close(loss.metrics["d/interpolate_grad_norm"], norm.mean())
    assert_close(loss.metrics["d/wasserstein"], torch.tensor(a - a / 3))
    # d penalty / d a, through the gradient's own gradient
    (slope,) = torch.autograd.grad(loss.value, [D.a])
    assert_close(slope, 1 / 3 - 1 + 10 * (2 * (norm - 1) * norm / a).mean())


def test_the_generator_ascends_the_critic():
    torch.manual_seed(0)
    G = ResidualConvGenerator.Config(latent=2, dim=2, blocks=1, width=3).build(SYMBOLS, 2)
    z = Sequences(torch.zeros(4, 2, dtype=torch.int64), torch.full((4,), 2), Source(vector=torch.randn(4, 2)))
    D = Square(3.0)
    fake = Rollouts(z, torch.zeros(4, 2), torch.zeros(4, 1, 1, 0))
    value = WGANGP(WGANGP.Config()).generator_loss(G, D, fake, z, rng()).value
    assert_close(value, -D.logits(G.relaxed(z.source)).mean())
    slopes = torch.autograd.grad(value, list(G.parameters()))
    assert all(slope.isfinite().all() for slope in slopes)
    assert any(slope.any() for slope in slopes)


def test_settings_are_those_of_the_authors_script():
    config = WGANGP.Config()
    assert (config.penalty, config.d_steps, config.d_batch) == (10.0, 10, 64)
    optimizer = WGANGP(config).optimizer(nn.Linear(1, 1), config.generator_lr)
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["betas"] == (0.5, 0.9)
    assert optimizer.defaults["lr"] == 1e-4
