"""The convolutional networks: one block by hand, sizes of the papers, what relaxed symbols mean."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from algorithms.models.residual_conv import ResidualBlock, ResidualConvDiscriminator, ResidualConvGenerator
from algorithms.types import Alphabet, Source

SYMBOLS = Alphabet(size=4)


def test_a_block_by_hand():
    block = ResidualBlock(dim=1, width=3, scale=0.3, slope=0.0)
    with torch.no_grad():
        for convolution, weights, bias in zip(
            block.convolutions, ([1.0, 2.0, 3.0], [0.0, 1.0, 0.0]), (0.5, -1.0), strict=True
        ):
            convolution.weight.copy_(torch.tensor(weights).view(1, 1, 3))
            convolution.bias.fill_(bias)
    # relu(1, -2, 3) = 1, 0, 3; windows (0 1 0), (1 0 3), (0 3 0): 2.5, 10.5, 6.5; then less 1
    found = block(torch.tensor([[[1.0, -2.0, 3.0]]]))
    assert_close(found, torch.tensor([[[1 + 0.3 * 1.5, -2 + 0.3 * 9.5, 3 + 0.3 * 5.5]]]))


def test_sizes_are_those_of_wgan_gp_by_default():
    G = ResidualConvGenerator.Config().build(SYMBOLS, 32)
    assert (G.latent, G.input.weight.shape) == (128, (512 * 32, 128))
    assert len(G.blocks) == 5
    assert G.blocks[0].convolutions[0].weight.shape == (512, 512, 5)


def test_tokens_are_judged_as_the_relaxed_symbols_that_they_are():
    torch.manual_seed(0)
    D = ResidualConvDiscriminator.Config(dim=6, blocks=1, slope=0.2).build(SYMBOLS, 5)
    tokens = torch.randint(4, (3, 5))
    assert_close(D.logits(tokens), D.logits(torch.nn.functional.one_hot(tokens, 4).float()))
    relaxed = torch.full((1, 5, 4), 0.25, requires_grad=True)
    D.logits(relaxed).sum().backward()
    assert relaxed.grad.abs().sum() > 0


def test_probabilities_and_likelihood_are_of_one_distribution():
    torch.manual_seed(0)
    G = ResidualConvGenerator.Config(dim=6, blocks=1, latent=3).build(SYMBOLS, 5)
    z = Source(vector=torch.randn(2, 3))
    relaxed, tokens = G.relaxed(z), torch.randint(4, (2, 5))
    assert_close(relaxed.sum(-1), torch.ones(2, 5))
    assert_close(G.log_prob(tokens, z).exp(), relaxed.gather(-1, tokens[..., None]).squeeze(-1))
