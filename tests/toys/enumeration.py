"""Every sequence that an alphabet allows."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from algorithms.types import Alphabet


def all_sequences(alphabet: Alphabet, length: int) -> Tensor:
    """Every sequence without a banned symbol, each once, padded after its end: [M, T] int64.

    With an end symbol there are those that end at 1 .. T and those that fill T without ending.
    """
    allowed = [symbol for symbol in range(alphabet.size) if symbol not in alphabet.banned]
    if alphabet.end is None:
        return torch.tensor(list(itertools.product(allowed, repeat=length)))
    going = [symbol for symbol in allowed if symbol != alphabet.end]
    rows = [
        [*begun, alphabet.end] + [alphabet.pad] * (length - t - 1)
        for t in range(length)
        for begun in itertools.product(going, repeat=t)
    ]
    rows += [list(whole) for whole in itertools.product(going, repeat=length)]
    return torch.tensor(rows)
