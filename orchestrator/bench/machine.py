"""The machine that a measurement was made on, and its limit: how fast it multiplies matrices.

The limit is measured in the same run as everything that is compared with it, with the same threads.
"""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch

from orchestrator.bench.timing import repeated
from orchestrator.run_directory import versions
from workers.messages import device_class

LARGEST, SMALLEST = 2048, 128
"""Rows and columns of the product that is timed: the largest that the budget allows."""
BUDGET_S = 2.0
"""For each type of number."""
RUNS = 5
"""Timed products that must fit the budget, the one that warms up included."""

_CAPABLE = 1.2
"""How much faster than float32 products must be in another type to be worth its rounding."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast products of one type of number are.

    Attributes:
        flops_per_s: floating-point operations a second, the median of several products.
        size: rows and columns of the matrices.
    """

    flops_per_s: float
    size: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What results were measured on.

    Attributes:
        device: the processor's or the accelerator's name.
        processor: architecture, and cores that this process may use.
        capability: the widest instruction set that torch uses, or the accelerator's.
        threads: CPU threads of one operation.
        torch, advseq: versions.
        fp32, bf16: measured rates of products with float32 and bfloat16 factors.
    """

    device: str
    processor: str
    capability: str
    threads: int
    torch: str
    advseq: str
    fp32: Rate
    bf16: Rate

    @property
    def has_fast_bf16(self) -> bool:
        """Whether products in bfloat16 are faster here than in float32."""
        return self.bf16.flops_per_s > _CAPABLE * self.fp32.flops_per_s

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_machine(device: torch.device, *, largest: int = LARGEST) -> Machine:
    """Describes this machine and times products on it, with the threads that torch has now.

    Args:
        largest: rows and columns of the product, at most.
    """
    threads = torch.get_num_threads()
    found = device_class(device, torch.float32, threads)
    cores = len(psutil.Process().cpu_affinity() or ()) if hasattr(psutil.Process, "cpu_affinity") else 0
    return Machine(
        device=found.device,
        processor=f"{platform.machine()}, {cores or psutil.cpu_count()} cores",
        capability=found.capability.split(" ", 1)[0],
        threads=threads,
        torch=torch.__version__,
        advseq=versions()["advseq"],
        fp32=product_rate(torch.float32, device, largest=largest),
        bf16=product_rate(torch.bfloat16, device, largest=largest),
    )


def product_rate(
    dtype: torch.dtype, device: torch.device, *, largest: int = LARGEST, budget_s: float = BUDGET_S
) -> Rate:
    """The rate of square products in one type.

    A processor without instructions for a type emulates them, two hundred times slower: a small product
    tells how large one may be.
    """
    size = min(SMALLEST, largest)
    small = statistics.median(_times(dtype, device, size, runs=2))
    while size < largest and RUNS * small * 8 <= budget_s:  # twice the size, eight times the operations
        size, small = min(2 * size, largest), small * 8
        if size <= 512:  # a product that hardly takes longer than the call would promise too little
            small = statistics.median(_times(dtype, device, size, runs=2))
    took = statistics.median(_times(dtype, device, size, runs=RUNS - 1))
    return Rate(2 * size**3 / took, size)


def _times(dtype: torch.dtype, device: torch.device, size: int, *, runs: int) -> list[float]:
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=rng).to(device, dtype) for _ in range(2))
    out = torch.empty_like(a)
    return repeated(lambda: torch.mm(a, b, out=out), device, at_least=runs, at_most=runs)


class Others:
    """What other processes took of this machine's processors since this was made."""

    def __init__(self) -> None:
        self._began, self._all, self._own = time.perf_counter(), _busy(), time.process_time()

    def cores(self) -> float:
        """Cores that others kept busy, on average; processes that this one started count as others."""
        wall = max(1e-9, time.perf_counter() - self._began)
        return max(0.0, (_busy() - self._all - (time.process_time() - self._own)) / wall)


def _busy() -> float:
    """Seconds that all processors together have worked since the machine began."""
    told = psutil.cpu_times()
    return float(sum(told) - told.idle - getattr(told, "iowait", 0.0))
