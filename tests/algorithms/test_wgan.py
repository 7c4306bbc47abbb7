"""WGAN: the critic's and the generator's loss by hand, clipping, its optimisers, and its warm-up."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from algorithms.models.residual_conv import ResidualConvDiscriminator, ResidualConvGenerator
from algorithms.types import Alphabet, Rollouts, Sequences, Source
from algorithms.wgan import WGAN
from toys.coins import rng

SYMBOLS = Alphabet(size=3)


def wgan(**settings) -> WGAN:
    return WGAN(WGAN.Config(**settings))


def networks() -> tuple[ResidualConvGenerator, ResidualConvDiscriminator]:
    torch.manual_seed(0)
    G = ResidualConvGenerator.Config(latent=2, dim=2, blocks=0, width=1).build(SYMBOLS, 2)
    return G, ResidualConvDiscriminator.Config(dim=3, blocks=0, width=1).build(SYMBOLS, 2)


def sequences(tokens: list[list[int]], z: list[list[float]] | None = None) -> Sequences:
    source = None if z is None else Source(vector=torch.tensor(z))
    return Sequences(torch.tensor(tokens), torch.full((len(tokens),), 2), source)


def test_losses_by_hand():
    """f(x) = sum_t c_t,v of the symbol v at t: a critic that looks its value up."""
    G, D = networks()
    values = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 4.0]])
    with torch.no_grad():
        D.input.weight.copy_(torch.eye(3)[..., None])
        D.input.bias.zero_()
        D.output.weight.copy_(values.T.reshape(1, 6))  # channels first, then positions
        D.output.bias.fill_(7.0)  # no difference has it
        G.output.weight.zero_()
        G.output.bias.copy_(torch.tensor([0.0, 0.0, 2.0]).log_softmax(0))
    p = torch.tensor([0.0, 0.0, 2.0]).softmax(0)
    real, fake = sequences([[0, 0], [1, 2]]), sequences([[0, 0]] * 3, [[0.0, 1.0]] * 3)
    f_real, f_fake = ((1.0 + 0.5) + (2.0 + 4.0)) / 2, (values @ p).sum()
    loss = wgan().discriminator_loss(G, D, fake, real, rng())
    assert_close(loss.value, f_fake - f_real)
    assert_close(loss.metrics["d/wasserstein"], f_real - f_fake)
    rolled = Rollouts(fake, torch.zeros(3, 2), torch.zeros(3, 1, 1, 0))
    three = sequences([[0, 0], [1, 2], [2, 2]])
    told = wgan().generator_loss(G, D, rolled, three, rng())
    assert_close(told.value, -(f_fake + 7.0))
    assert_close(told.metrics["d/interpolate_grad_norm"], values.square().sum().sqrt())


def largest(net: nn.Module) -> float:
    return max(parameter.abs().max().item() for parameter in net.parameters())


def test_clipping_leaves_no_weight_outside():
    _, D = networks()
    algorithm = wgan(clip=0.05)
    optimizer = algorithm.optimizer(D, 1.0)
    for parameter in D.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    assert largest(D) > 0.05
    algorithm.constrain(D)
    assert largest(D) == pytest.approx(0.05)


def test_the_authors_code_trains_the_critic_longer_at_times():
    warm = wgan(critic_warmup=True)
    assert [warm.d_phases(step) for step in (0, 24, 25, 499, 500, 501, 1000)] == [100, 100, 5, 5, 100, 5, 100]
    assert {wgan().d_phases(step) for step in range(600)} == {5}


def test_momentum_is_warned_of():
    assert not wgan().remarks()
    assert not wgan(optimizer="sgd").remarks()
    for settings in ({"momentum": 0.9}, {"optimizer": "adam", "momentum": 0.5}):
        (remark,) = wgan(**settings).remarks()
        assert "unstable" in remark
        assert "wgan_gp" in remark


@pytest.mark.parametrize(
    ("name", "kind"),
    [("rmsprop", torch.optim.RMSprop), ("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)],
)
def test_optimisers(name: str, kind: type[torch.optim.Optimizer]):
    optimizer = wgan(optimizer=name).optimizer(networks()[1], 5e-5)
    assert type(optimizer) is kind
    assert optimizer.defaults["lr"] == 5e-5
    assert optimizer.defaults.get("momentum", 0.0) == 0.0
    assert optimizer.defaults.get("betas", (0.0,))[0] == 0.0
