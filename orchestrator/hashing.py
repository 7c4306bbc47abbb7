"""Fingerprints of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from orchestrator.fingerprints import Fingerprint
from orchestrator.state import TrainState


def of_rows(*tensors: Tensor) -> Fingerprint:
    """Of tensors [R, ...], all together."""
    rows = len(tensors[0])
    held = [tensor.detach().cpu() for tensor in tensors]
    size = Fingerprint(rows, ()).block
    hashes = [_digest([one[first : first + size] for one in held]) for first in range(0, rows, size)]
    return Fingerprint(rows, tuple(hashes))


def of_networks(state: TrainState) -> dict[str, Fingerprint]:
    """Of each network, buffers included."""
    return {
        name: Fingerprint(0, (_digest(list(network.state_dict().values())),))
        for name, network in state.networks().items()
    }


def _digest(tensors: Sequence[Tensor]) -> str:
    digest = blake2b(digest_size=8)
    for tensor in tensors:
        held = tensor.detach().cpu().contiguous()
        digest.update(f"{held.dtype} {tuple(held.shape)}".encode())
        digest.update(held.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
