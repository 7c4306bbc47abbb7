"""Seconds and bytes of something that is done again and again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from workers.process import clock

Action = Callable[[], object]


def nothing() -> None:
    """What is prepared where nothing has to be."""


def seconds(action: Action, device: torch.device, prepare: Action = nothing) -> float:
    """Of one time; ``prepare`` goes before it and does not count."""
    prepare()
    started = clock(device)
    action()
    return clock(device) - started


def repeated(
    action: Action,
    device: torch.device,
    prepare: Action = nothing,
    *,
    at_least: int = 3,
    at_most: int = 15,
    budget_s: float = 3.0,
) -> list[float]:
    """Seconds of each of several times, after one that does not count.

    Args:
        at_least, at_most: how many times.
        budget_s: no further time is begun after so many seconds, beyond ``at_least``.
    """
    seconds(action, device, prepare)
    begun, times = time.perf_counter(), list[float]()
    while len(times) < at_least or (len(times) < at_most and time.perf_counter() - begun < budget_s):
        times.append(seconds(action, device, prepare))
    return times


def in_turn(first: Action, second: Action, device: torch.device) -> tuple[list[float], list[float]]:
    """Seconds of each of two, one after the other again and again: what slows one down slows both."""
    others: list[float] = []
    times = repeated(first, device, lambda: others.append(seconds(second, device)), budget_s=6.0)
    return times, others[1:]


def peak_bytes(action: Action, device: torch.device) -> int:
    """The most that the action holds at a time of what it allocates through torch, in this thread."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    from torch.profiler import ProfilerActivity, profile

    with _silent_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        action()
    recorder = profiled.profiler
    assert recorder is not None
    events = [event for event in recorder.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """The profiler writes two lines to the file of standard error, whatever its settings."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
