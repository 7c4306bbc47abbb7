"""How many rows a network sees in one call: always the same number, whoever asks for how many.

The last bits of a matrix product depend on how many rows it has: the library chooses another kernel, and
rows behind the last full group of vector registers get scalar code. With a constant number of rows, the
last of which may be repeats, what a network says of a row depends on that row alone: not on the unit, the
memory budget or the rows that stand beside it. All numbers are multiples of 64, so that no elementwise
loop has a scalar tail.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# A GPU is given as much at a time as it takes to fill it.


def sampled(symbols: int, device: torch.device) -> int:
    """Sequences in one call of a generator while they are sampled and while their prefixes are read.

    On a CPU few, since a unit has few; the time of a call does not shrink with a small alphabet.
    """
    if device.type != "cpu":
        return 1024
    return 128 if symbols <= 1024 else 64


def completed(device: torch.device) -> int:
    """Completions in one call: on a CPU enough that small operations cost little beside the large ones."""
    return 8192 if device.type != "cpu" else 256


def scored(device: torch.device) -> int:
    """Sequences in one call of a score."""
    return 4096 if device.type != "cpu" else 256


def read_at_once(device: torch.device) -> int:
    """Sequences in one call that reads their prefixes for a score; on a CPU few, since a unit has few."""
    return 256 if device.type != "cpu" else 64


def pieces(rows: Tensor, size: int) -> Sequence[Tensor]:
    """Places of the R rows, ``size`` in every piece: what the last one lacks is filled with the last row."""
    count = -(-len(rows) // size)
    places = torch.arange(count * size, device=rows.device).clamp_max_(len(rows) - 1)
    return places.view(count, size).unbind(0)
