"""Sequences some at a time, where a network is."""

from __future__ import annotations

import torch
from torch import nn

from algorithms.types import Sequences


def batches(sequences: Sequences, size: int) -> list[Sequences]:
    """The sequences in order, so many at a time."""
    return [sequences.select(slice(start, start + size)) for start in range(0, len(sequences), size)]


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are; the CPU where it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
