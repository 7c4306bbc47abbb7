"""Steps of the baseline descend the same losses along the same gradients."""

from __future__ import annotations

import pytest
import torch

from algorithms.losses import policy_gradient
from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.seqgan import SeqGAN
from algorithms.types import Alphabet, Sequences
from orchestrator.bench import serial_training as plain

ALPHABET, T = Alphabet(size=30), 8


@pytest.fixture
def G() -> LSTMGenerator:
    torch.manual_seed(1)
    return LSTMGenerator.Config(embedding=5, hidden=7, init_std=0.5).build(ALPHABET, T)


@pytest.fixture
def D() -> TextCNN:
    torch.manual_seed(2)
    return TextCNN.Config(embedding=4, filters=((1, 6), (3, 5)), dropout=0.0).build(ALPHABET, T)


def batch(rows: int, seed: int) -> Sequences:
    tokens = torch.randint(30, (rows, T), generator=torch.Generator().manual_seed(seed))
    return Sequences(tokens, ALPHABET.lengths(tokens))


class Recording(torch.optim.SGD):
    """Keeps the gradients and moves nothing."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(module.parameters(), lr=0.0)
        self.module = module

    def gradients(self) -> dict[str, torch.Tensor]:
        return {name: p.grad for name, p in self.module.named_parameters() if p.grad is not None}


def test_maximum_likelihood(G):
    real = batch(6, 3)
    recorded = Recording(plain.PlainGenerator(G))
    loss = plain.likelihood_step(recorded.module, recorded, real.tokens, 1e9)
    ours = SeqGAN(SeqGAN.Config()).pretrain_loss(G, real, 0, torch.Generator()).value
    torch.testing.assert_close(loss, ours.detach())
    wanted = torch.autograd.grad(ours, [G.embedding, G.input, G.output_bias])
    found = recorded.gradients()
    torch.testing.assert_close(found["embedding.weight"], wanted[0])
    torch.testing.assert_close(found["lstm.weight_ih_l0"], wanted[1].t())
    torch.testing.assert_close(found["output.bias"], wanted[2])


def test_policy_gradient(G):
    fake, credit = batch(6, 4), torch.rand(6, T, generator=torch.Generator().manual_seed(5))
    recorded = Recording(plain.PlainGenerator(G))
    loss = plain.policy_step(recorded.module, recorded, fake.tokens, credit, 1e9)
    ours = policy_gradient(G.log_prob(fake.tokens), credit, fake.mask)
    torch.testing.assert_close(loss, ours.detach())
    (wanted,) = torch.autograd.grad(ours, [G.recurrent])
    torch.testing.assert_close(recorded.gradients()["lstm.weight_hh_l0"], wanted.t())


def test_a_gradient_is_scaled_down(G):
    recorded = Recording(plain.PlainGenerator(G))
    plain.policy_step(recorded.module, recorded, batch(6, 4).tokens, torch.ones(6, T), 0.5)
    norm = torch.stack([gradient.norm() for gradient in recorded.gradients().values()]).norm()
    assert norm == pytest.approx(0.5, rel=1e-4)


def test_discriminator(D, G):
    real, fake = batch(5, 6), batch(5, 7)
    recorded = Recording(plain.PlainDiscriminator(D))
    loss = plain.discriminator_step(recorded.module, recorded, real.tokens, fake.tokens, D.l2)
    ours = SeqGAN(SeqGAN.Config()).discriminator_loss(G, D, fake, real, torch.Generator()).value
    torch.testing.assert_close(loss, ours.detach())
    wanted = torch.autograd.grad(ours, list(D.parameters()))
    found = recorded.gradients()
    for (name, _), gradient in zip(D.named_parameters(), wanted, strict=True):
        torch.testing.assert_close(found[name], gradient)


def test_the_optimiser_has_default_settings(G):
    optimizer = plain.adam(plain.PlainGenerator(G), 0.01)
    defaults = torch.optim.Adam([torch.zeros(1, requires_grad=True)]).defaults
    assert optimizer.defaults == {**defaults, "lr": 0.01}
