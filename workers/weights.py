"""Weights as one flat buffer with a manifest and a hash, so that a network cannot be silently stale.

Parameters and buffers of every dtype travel as their bytes. Whoever loads them hashes the module
afterwards: equal hashes mean equal bytes, whatever happened on the way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from workers.failures import WrongWeights

NETWORKS = ("generator", "policy", "discriminator")
"""What is published, by the names that a worker's networks have."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Tag:
    """Which weights: a number for people, the hash of the content for machines.

    Attributes:
        version: counts the contents of one network, from 1.
        digest: blake2b-128 of manifest and bytes, in hexadecimal digits.
    """

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies in the buffer; offset and size in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Weights:
    """The content of one network at one version.

    Attributes:
        network: its name, see ``NETWORKS``.
        version: counts its contents, from 1.
        digest: blake2b-128 of manifest and bytes; no part of it depends on name, version or device.
        entries: the manifest, by name.
        buffer: [bytes] uint8, C-contiguous; a read-only view where it comes out of a shared store.
    """

    network: str
    version: int
    digest: str
    entries: tuple[Entry, ...]
    buffer: Bytes

    @property
    def tag(self) -> Tag:
        return Tag(self.version, self.digest)


def pack(network: str, module: nn.Module, version: int) -> Weights:
    """The module's parameters and buffers, on any device, as one buffer on the CPU; one transfer a device."""
    tensors = _tensors(module)
    entries, buffer = _manifest(tensors), _flat(tensors)
    return Weights(network, version, _digest(entries, buffer), entries, buffer)


@torch.no_grad()
def load(module: nn.Module, weights: Weights) -> None:
    """Copies weights into a module, on whatever device it is, and hashes it back.

    Raises:
        WrongWeights: where the module has other tensors than the weights, or holds other bytes afterwards.
    """
    tensors = _tensors(module)
    _check_manifest(_manifest(tensors), weights)
    # copied, since a store's view is read-only and torch has no such tensors
    flat = torch.from_numpy(weights.buffer.copy())
    devices = {tensor.device for tensor in tensors.values()}
    sent = {device: flat.to(device) for device in devices}
    for entry in weights.entries:
        tensor = tensors[entry.name]
        piece = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        if entry.bytes:
            _as_bytes(piece).copy_(sent[tensor.device][entry.offset : entry.offset + entry.bytes])
        tensor.copy_(piece)  # also into a tensor whose elements do not lie in order
    held = _digest(weights.entries, _flat(tensors))
    if held != weights.digest:
        raise _wrong(
            weights,
            f"after loading, its content hashes to {held}, wanted was {weights.digest}. A copy was damaged "
            "on its way: look at this machine's memory and at the object store, then resume",
        )


class Publications:
    """The latest content of each network; a version is new only where the bytes are."""

    def __init__(self) -> None:
        self.latest: dict[str, Weights] = {}

    def update(
        self, generator: nn.Module, discriminator: nn.Module, policy: nn.Module | None
    ) -> list[Weights]:
        """Takes the networks as they are; the policy is the generator where None.

        Returns:
            Those whose content is new, in the order of ``NETWORKS``.
        """
        current = {
            "generator": pack("generator", generator, 0),
            "discriminator": pack("discriminator", discriminator, 0),
        }
        current["policy"] = current["generator"] if policy is None else pack("policy", policy, 0)
        changed = []
        for network in NETWORKS:
            held = self.latest.get(network)
            if held is None or held.digest != current[network].digest:
                version = 1 if held is None else held.version + 1
                changed.append(dataclasses.replace(current[network], network=network, version=version))
        self.latest |= {weights.network: weights for weights in changed}
        return changed


def digest_of(value: object) -> str:
    """blake2b-128 of a value made of tensors, numbers, texts, tuples, mappings and plain objects of these."""
    digest = blake2b(digest_size=16)
    for piece in _pieces(value):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(value: object) -> Iterator[bytes | memoryview]:
    """The value as bytes; each begins with its kind and size, so that no two values run together."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        text = repr(value).encode()
        yield f"{type(value).__name__} {len(text)} ".encode() + text
    elif isinstance(value, Tensor):
        yield f"tensor {value.dtype} {tuple(value.shape)} ".encode()
        yield _as_bytes(value.detach().cpu()).numpy().data
    elif isinstance(value, tuple | list):
        yield f"sequence {len(value)} ".encode()
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)} ".encode()
        for key, item in value.items():
            yield from _pieces(key)
            yield from _pieces(item)
    elif dataclasses.is_dataclass(value):
        yield f"{type(value).__qualname__} ".encode()
        for field in dataclasses.fields(value):
            yield from _pieces(getattr(value, field.name))
    elif hasattr(value, "__dict__"):
        yield f"{type(value).__qualname__} ".encode()
        yield from _pieces(vars(value))
    else:
        raise TypeError(
            f"a {type(value).__name__} has no content hash: give tensors, numbers, texts or objects of these"
        )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, unsaved ones too, by name in a fixed order; a shared tensor once."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: named[name].detach() for name in sorted(named)}


def _manifest(tensors: Mapping[str, Tensor]) -> tuple[Entry, ...]:
    entries, offset = [], 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        dtype = str(tensor.dtype).removeprefix("torch.")
        entries.append(Entry(name, dtype, tuple(tensor.shape), offset, size))
        offset += size
    return tuple(entries)


def _flat(tensors: Mapping[str, Tensor]) -> Bytes:
    """The tensors' bytes, one after the other."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors.values():
        by_device.setdefault(tensor.device, []).append(tensor)
    if len(by_device) <= 1:
        pieces = [_as_bytes(tensor) for tensor in tensors.values()]
    else:
        pieces = [_as_bytes(tensor.cpu()) for tensor in tensors.values()]
    if not pieces:
        return np.empty(0, np.uint8)
    return torch.cat(pieces).cpu().numpy()


def _as_bytes(tensor: Tensor) -> Tensor:
    """[bytes] uint8; shares memory where the elements lie in order."""
    row = tensor.reshape(-1)
    if len(row) == 1:  # its stride may be anything
        row = row.as_strided((1,), (1,))
    return row.view(torch.uint8)


def _digest(entries: tuple[Entry, ...], buffer: Bytes) -> str:
    digest = blake2b(digest_size=16)
    for entry in entries:
        digest.update(repr((entry.name, entry.dtype, entry.shape, entry.offset, entry.bytes)).encode())
    digest.update(buffer.data)
    return digest.hexdigest()


def _check_manifest(own: tuple[Entry, ...], weights: Weights) -> None:
    """Same names, dtypes, shapes and places, and a buffer of that size."""
    mine, theirs = {entry.name: entry for entry in own}, {entry.name: entry for entry in weights.entries}
    found = [f"{name} is missing from the weights" for name in mine.keys() - theirs.keys()]
    found += [f"{name} is unknown to the module" for name in theirs.keys() - mine.keys()]
    for name in mine.keys() & theirs.keys():
        a, b = mine[name], theirs[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            found.append(f"{name} is {b.dtype} {list(b.shape)}, the module has {a.dtype} {list(a.shape)}")
    wanted = sum(entry.bytes for entry in own)
    if not found and (own != weights.entries or len(weights.buffer) != wanted):
        found = [f"the buffer has {len(weights.buffer)} bytes in another order, the module needs {wanted}"]
    if found:
        rest = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise _wrong(
            weights,
            f"it does not fit the module: {'; '.join(sorted(found)[:3])}{rest}. "
            "Workers must be built from the configuration that the learner has: start them anew",
        )


def _wrong(weights: Weights, reason: str) -> WrongWeights:
    return WrongWeights(
        f"wrong weights for the {weights.network}, version {weights.version}: {reason}",
        network=weights.network,
        version=weights.version,
    )
