"""What a process that computes sets once: its threads, and an allocator that keeps what it has freed."""

from __future__ import annotations

import contextlib
import ctypes

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEEP = 2**30
_LARGEST_ON_HEAP = 2**25  # glibc's own upper limit


def settle(threads: int) -> None:
    """Pins torch's CPU threads, and stops glibc from giving freed tensors back to the system at every step.

    A training step frees and takes the same tens of megabytes again; without this each page of them is
    faulted in and zeroed anew (half of the time of a likelihood step at V = 2,000). No result depends on it.
    """
    torch.set_num_threads(threads)
    with contextlib.suppress(OSError, AttributeError):  # another C library: its allocator is left alone
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEEP)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP)
