"""Residual one-dimensional convolutions: WGAN-GP's and BGAN's one-shot character generators, and critics.

Gulrajani et al. 2017 (https://arxiv.org/abs/1704.00028), section 5.5 and the authors' gan_language.py:

    G: z -> linear to [dim, T] -> blocks -> convolution of width 1 to V -> softmax at every position
    D: one-hot or relaxed symbols -> convolution of width 1 to dim -> blocks -> linear over all positions
    block(x) = x + 0.3 conv(relu(conv(relu(x))))

Weights are uniform, of variance 4 / (fan_in + fan_out) in convolutions and 2 / (fan_in + fan_out) elsewhere;
biases are 0. BGAN's Billion Word script has 3 blocks of 256, z of 100, batch normalisation in G and slopes of
0.2 in D.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from algorithms.config import Frozen
from algorithms.models.base import Discriminator, OneShotGenerator
from algorithms.types import Alphabet, Source

Norm = Literal["none", "batch", "layer"]
"""Of what enters a convolution: nothing, over the minibatch, or over all entries of each sample."""


def _norm(kind: Norm, dim: int) -> nn.Module:
    match kind:
        case "none":
            return nn.Identity()
        case "batch":
            return nn.BatchNorm1d(dim)
        case "layer":
            return nn.GroupNorm(1, dim)


class ResidualBlock(nn.Module):
    """x + scale * conv(act(conv(act(x)))): [B, dim, T] -> [B, dim, T]."""

    def __init__(self, dim: int, width: int, scale: float, slope: float, norm: Norm = "none") -> None:
        super().__init__()
        self.scale, self.slope = scale, slope
        self.convolutions = nn.ModuleList(nn.Conv1d(dim, dim, width, padding="same") for _ in "ab")
        self.norms = nn.ModuleList(_norm(norm, dim) for _ in "ab")

    def forward(self, x: Tensor) -> Tensor:
        inner = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            inner = convolution(nn.functional.leaky_relu(norm(inner), self.slope))
        return x + self.scale * inner


class Sizes(Frozen):
    """What both networks have."""

    dim: int = Field(512, ge=1, le=65_536)
    """Channels."""

    blocks: int = Field(5, ge=0, le=200)
    """Residual blocks of two convolutions each."""

    width: int = Field(5, ge=1, le=65)
    """Of the convolutions in the blocks."""

    scale: float = Field(0.3, gt=0, le=10)
    """Of what a block adds."""

    slope: float = Field(0.0, ge=0, lt=1)
    """Of the activation below zero; 0 is the rectifier."""

    def stack(self, norm: Norm) -> nn.Sequential:
        blocks = (
            ResidualBlock(self.dim, self.width, self.scale, self.slope, norm) for _ in range(self.blocks)
        )
        return nn.Sequential(*blocks)


def _initialise(net: nn.Module) -> None:
    """As the authors do: Glorot and Bengio 2010, of twice the variance in convolutions."""
    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            gain = math.sqrt(2) if isinstance(module, nn.Conv1d) else 1.0
            nn.init.xavier_uniform_(module.weight, gain)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


class ResidualConvGenerator(OneShotGenerator):
    """All positions at once from a latent z; they are independent given z."""

    class Config(Sizes):
        name: Literal["residual_conv"] = "residual_conv"

        latent: int = Field(128, ge=1, le=65_536)
        """Z, values of z."""

        batch_norm: bool = False
        """Whether inputs of convolutions are normalised over the minibatch."""

        def build(self, alphabet: Alphabet, length: int) -> ResidualConvGenerator:
            return ResidualConvGenerator(self, alphabet, length)

    banned: Tensor

    def __init__(self, config: Config, alphabet: Alphabet, length: int) -> None:
        super().__init__()
        self.alphabet, self.length, self.latent = alphabet, length, config.latent
        self.dim = config.dim
        self.input = nn.Linear(config.latent, config.dim * length)
        self.blocks = config.stack("batch" if config.batch_norm else "none")
        self.output = nn.Conv1d(config.dim, alphabet.size, 1)
        self.register_buffer("banned", torch.zeros(alphabet.size, dtype=torch.bool))
        self.banned[list(alphabet.banned)] = True
        _initialise(self)

    def relaxed(self, source: Source) -> Tensor:
        return self._logits(source).softmax(-1)

    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        if source is None:
            return super().log_prob(tokens, source)  # which says what is lacking
        log_p = self._logits(source).log_softmax(-1)
        picked = log_p.gather(-1, tokens[..., None]).squeeze(-1)  # [B, T]
        return picked.masked_fill(~self.alphabet.mask(tokens), 0.0)

    def _logits(self, source: Source) -> Tensor:
        if source.vector is None:
            raise ValueError("ResidualConvGenerator draws from a latent z: give it a source with a vector")
        x = self.input(source.vector).view(len(source), self.dim, self.length)
        logits = self.output(self.blocks(x)).transpose(1, 2)  # [B, T, V]
        return logits.masked_fill(self.banned, -torch.inf) if self.alphabet.banned else logits


class ResidualConvDiscriminator(Discriminator):
    """Takes tokens, or relaxed symbols [B, T, V]."""

    takes_relaxed = True

    class Config(Sizes):
        name: Literal["residual_conv"] = "residual_conv"

        layer_norm: bool = False
        """Whether inputs of convolutions are normalised over all entries of each sample. A minibatch's
        normalisation is no choice: the gradient penalty is each sample's own."""

        def build(self, alphabet: Alphabet, length: int) -> ResidualConvDiscriminator:
            return ResidualConvDiscriminator(self, alphabet, length)

    def __init__(self, config: Config, alphabet: Alphabet, length: int) -> None:
        super().__init__()
        self.alphabet = alphabet
        self.input = nn.Conv1d(alphabet.size, config.dim, 1)
        self.blocks = config.stack("layer" if config.layer_norm else "none")
        self.output = nn.Linear(config.dim * length, 1)
        _initialise(self)

    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        relaxed = tokens
        if not tokens.is_floating_point():
            shown = tokens.masked_fill(~self.alphabet.mask(tokens), self.alphabet.pad)
            relaxed = nn.functional.one_hot(shown, self.alphabet.size).to(self.output.weight.dtype)
        x = self.blocks(self.input(relaxed.transpose(1, 2)))  # [B, dim, T]
        return self.output(x.flatten(1)).squeeze(-1).to(self.output.weight.dtype)
