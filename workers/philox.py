"""Random numbers with addresses instead of streams.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") hashes a
counter under a key. The key is a path (run seed, stage, step, phase, ...), the counter a place in it
(sequence, prefix, completion, position). A draw therefore depends on where it is used, and on no
batch, chunk, worker, device or order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TypeAlias

import torch
from torch import Tensor

Path: TypeAlias = tuple[int | str, ...]
"""Where in a run a draw belongs; each layer appends its own part."""

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF


def seed_of(path: Path) -> int:
    """64 bits that belong to a path."""
    return int.from_bytes(blake2b(repr(path).encode(), digest_size=8).digest(), "little")


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ten rounds of Philox4x32: four words in, four words out.

    Args:
        counter: int64 tensors that broadcast together, values in 0 .. 2**32 - 1.
        key: 64 bits.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key & _MASK, key >> 32
    for _ in range(10):
        # int64 products wrap modulo 2**64; the masked halves are those of the unsigned product
        p0, p1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1, x2, x3 = (
            ((p1 >> 32) & _MASK) ^ x1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ x3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return x0, x1, x2, x3


def uniform(
    path: Path, sequence: Tensor, prefix: Tensor | int, completion: Tensor | int, position: Tensor | int
) -> Tensor:
    """Numbers in [0, 1) of 53 bits, one for each row: [R] float64; more where the addresses broadcast.

    Args:
        sequence: [R] int64, the row's number in the whole batch (not in its unit).
        prefix: length of the prefix that is being completed; 0 while the sequence itself is sampled.
        completion: number of the completion of that prefix.
        position: the token that is drawn, from 1.
    """
    word = torch.zeros_like(sequence)
    high, low, _, _ = philox((sequence, word + prefix, word + completion, word + position), seed_of(path))
    return ((high >> 5) * 2**26 + (low >> 6)).double() * 2.0**-53


def normal(path: Path, sequence: Tensor, count: int) -> Tensor:
    """Standard normal values, ``count`` for each row: [R, count] float32 (Box and Muller)."""
    place = torch.arange(count, device=sequence.device)[None, :]
    zero = torch.zeros_like(place) + torch.zeros_like(sequence)[:, None]
    high, low, _, _ = philox((sequence[:, None] + zero, place + zero, zero, zero), seed_of(path))
    radius = (-2 * ((high.double() + 1) * 2.0**-32).log()).sqrt()
    return (radius * (low.double() * (2 * torch.pi * 2.0**-32)).cos()).float()


def generator(path: Path) -> torch.Generator:
    """A CPU generator for operations that take one (permutations, coins)."""
    return torch.Generator().manual_seed(seed_of(path) >> 1)


@contextmanager
def global_random(path: Path) -> Iterator[None]:
    """The process's own random state, set for operations that take no generator (dropout), then restored."""
    with torch.random.fork_rng(devices=[]):  # the CPU's; asking for all would wake every GPU
        torch.manual_seed(seed_of(path) >> 1)
        yield
