"""Sequences of two coins: small enough that every estimator can be worked out by hand."""

from __future__ import annotations

from math import log

import torch

from algorithms.types import Alphabet
from toys.tabular import NgramGenerator

COINS = Alphabet(size=2)


def rng() -> torch.Generator:
    """What a loss draws from, where nothing is drawn."""
    return torch.Generator().manual_seed(0)


def coin(heads: float) -> NgramGenerator:
    """Symbol 1 with this probability, whatever came before."""
    G = NgramGenerator(COINS, 2, n=1)
    G.load_state_dict({"logits": torch.tensor([[log(1 - heads), log(heads)]])})
    return G
