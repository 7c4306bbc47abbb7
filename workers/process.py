"""What a process that computes needs: threads, determinism, an allocator that keeps memory, a clock."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP = 2**30
_LARGEST_ON_HEAP = 2**25  # glibc's own upper limit


def settle(threads: int) -> None:
    """Pins torch's CPU threads, forbids sums in an order of their own, and keeps freed memory.

    A training step frees and takes the same tens of megabytes again; glibc would give them back to the
    system, and each page would be faulted in and zeroed anew (half of the time of a likelihood step at
    V = 2,000). No result depends on that.
    """
    # cuBLAS sums in a fixed order only with a workspace of a fixed size, and reads this when it starts
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # filling fresh memory costs time, and nothing here reads it unwritten
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with contextlib.suppress(OSError, AttributeError):  # another C library: its allocator is left alone
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEEP)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP)


@contextmanager
def alone() -> Iterator[None]:
    """While threads of this process compute side by side: one CPU thread each.

    OpenMP's number of threads belongs to a thread, MKL's to the process. Left at the learner's, every product
    in every rollout thread would get threads of its own; and where OpenMP manages more threads than there are
    CPUs, it stops spinning at barriers, which makes a training step twice as slow from then on.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def clock(device: torch.device) -> float:
    """Seconds, as ``time.perf_counter`` counts, once the device has done all that it was given."""
    if device.type == "cuda":  # its work is only queued when a call returns
        torch.cuda.synchronize(device)
    return time.perf_counter()
