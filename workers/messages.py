"""What crosses between a pool and its workers: plain data, tensors as numpy arrays.

A task says which weights it wants, its result which were used. Tensors are slow to send, so they travel as
arrays; what is received is read-only and is copied once. Exceptions are data too, since one that cannot
be sent would hide what went wrong.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt
import torch
from torch import Tensor

from algorithms.types import Rollouts, RolloutSpec, Sequences, Source
from workers.failures import PoolFailure
from workers.philox import Path
from workers.rollout import Block
from workers.weights import Tag

_CPU = "cpu "

Arrays: TypeAlias = tuple[npt.NDArray[Any] | None, ...]
"""Tensors as they are sent; None where there is none."""


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """What the bits of a result depend on, besides its inputs: equal classes compute equal bits.

    Attributes:
        device: the processor's or the accelerator's name.
        capability: instruction sets as torch reports them, and the accelerator's capability.
        torch: version and build.
        dtype: of the generator's parameters.
        threads: of one operation on the CPU.
    """

    device: str
    capability: str
    torch: str
    dtype: str
    threads: int

    @property
    def on_cpu(self) -> bool:
        return self.device.startswith(_CPU)

    @property
    def fast_bf16(self) -> bool:
        """Whether it has instructions that multiply bfloat16; without, it takes 100 times longer."""
        has = self.capability.split()
        if self.on_cpu:
            return "amx_bf16" in has or "avx512_bf16" in has
        return int(has[0].removeprefix("sm_")) >= 80

    def __str__(self) -> str:
        """Short; the instruction sets, which are many, stand as the first and a hash of all."""
        level, flags = self.capability.split(" ", 1)[0], hashlib.sha256(self.capability.encode()).hexdigest()
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        return f"{self.device}, {level} ({flags[:8]}), torch {self.torch}, {self.dtype}, {threads}"


@dataclass(frozen=True, slots=True)
class Description:
    """Who a worker is: its device class, its process, its machine."""

    device_class: DeviceClass
    pid: int
    node: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The weights that a unit is to be computed with; ``references`` is a content hash, or None."""

    generator: Tag
    policy: Tag
    discriminator: Tag
    references: str | None = None

    def tags(self) -> dict[str, Tag]:
        return {"generator": self.generator, "policy": self.policy, "discriminator": self.discriminator}


@dataclass(frozen=True, slots=True)
class Task:
    """One unit, as data: see ``Block`` for first, count, source and real."""

    spec: RolloutSpec
    first: int
    count: int
    source: Arrays | None
    real: Arrays | None
    path: Path
    temperature: float
    wanted: Wanted

    @staticmethod
    def of(block: Block, spec: RolloutSpec, path: Path, temperature: float, wanted: Wanted) -> Task:
        source, real = _source_arrays(block.source), sequence_arrays(block.real)
        return Task(spec, block.first, block.count, source, real, path, temperature, wanted)

    def block(self, device: torch.device) -> Block:
        return Block(self.first, self.count, _source(self.source, device), _sequences(self.real, device))


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a unit.

    Attributes:
        sequences, log_prob, scores, clamp: the fields of ``Rollouts``, as arrays.
        used: the weights that the worker held while it computed.
        device_class: what it computed on.
        node, pid: the worker's process.
        compute_s, load_s: seconds of computing, and of fetching and loading weights before it.
        wait_s: seconds for which the worker had nothing to do before this unit.
    """

    sequences: Arrays
    log_prob: npt.NDArray[Any]
    scores: npt.NDArray[Any]
    clamp: int
    used: Wanted
    device_class: DeviceClass
    node: str
    pid: int
    compute_s: float
    load_s: float
    wait_s: float

    def rollouts(self, device: torch.device | str = "cpu") -> Rollouts:
        """The unit's rollouts on a device; shares no memory with the result."""
        sequences = _sequences(self.sequences, device)
        assert sequences is not None
        return Rollouts(sequences, _tensor(self.log_prob, device), _tensor(self.scores, device), self.clamp)


@dataclass(frozen=True, slots=True)
class Failed:
    """A unit that came to nothing by an exception.

    Attributes:
        error: the failure that is nobody's data (wrong or lost weights), or None.
        text: the traceback.
        node, pid: the worker's process.
    """

    error: PoolFailure | None
    text: str
    node: str
    pid: int


def device_class(device: torch.device, dtype: torch.dtype, threads: int) -> DeviceClass:
    """The class of this process, where it computes on a device with so many CPU threads."""
    build = f"{torch.__version__} {torch.version.cuda or 'cpu'}"
    return DeviceClass(*_device_name(device), build, str(dtype).removeprefix("torch."), threads)


def array_of(tensor: Tensor) -> npt.NDArray[Any]:
    """The tensor as an array on the CPU; waits for its device."""
    return tensor.detach().cpu().numpy()


def _tensor(array: npt.NDArray[Any], device: torch.device | str) -> Tensor:
    return torch.from_numpy(array.copy()).to(device)  # copied: what was received is read-only


def _source_arrays(source: Source | None) -> Arrays | None:
    if source is None:
        return None
    parts = (source.tokens, source.mask, source.vector)
    return tuple(None if part is None else array_of(part) for part in parts)


def _source(arrays: Arrays | None, device: torch.device | str) -> Source | None:
    if arrays is None:
        return None
    return Source(*(None if part is None else _tensor(part, device) for part in arrays))


def sequence_arrays(sequences: Sequences | None) -> Arrays | None:
    """Tokens, lengths, then the source's three fields where there is one."""
    if sequences is None:
        return None
    source = _source_arrays(sequences.source) or ()
    return (array_of(sequences.tokens), array_of(sequences.lengths), *source)


def _sequences(arrays: Arrays | None, device: torch.device | str) -> Sequences | None:
    if arrays is None:
        return None
    tokens, lengths, *source = arrays
    assert tokens is not None
    assert lengths is not None
    return Sequences(
        _tensor(tokens, device), _tensor(lengths, device), _source(tuple(source) or None, device)
    )


def _device_name(device: torch.device) -> tuple[str, str]:
    """The name of what computes, and what it can."""
    report: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    flags = sorted(name for name, has in report.items() if has is True)
    capability = " ".join([torch.backends.cpu.get_cpu_capability(), *flags])
    if device.type == "cpu":
        return f"{_CPU}{report.get('cpu_name', platform.machine())}", capability
    major, minor = torch.cuda.get_device_capability(device)
    return torch.cuda.get_device_name(device), f"sm_{major}{minor} {capability}"
