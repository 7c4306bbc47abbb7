"""Workers that sleep instead of computing: what a pool costs by itself, with more workers than cores.

A pool cannot tell them from others: they answer who they are, take units and return results of the true size.
Many of them may live in one process, each with units of its own, one at a time, as a worker does.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from workers.messages import Description, Result, Task, device_class


@dataclass(frozen=True, slots=True)
class Sleep:
    """What a unit takes, and the shape of its result.

    Attributes:
        seconds: for which a worker sleeps over it.
        T, N, K: of the scores, as in ``algorithms.types``.
    """

    seconds: float
    T: int
    N: int
    K: int


class Sleeper:
    """A worker in a process of its own."""

    def __init__(self, sleep: Sleep) -> None:
        torch.set_num_threads(1)
        self._sleep = sleep
        self._class = device_class(torch.device("cpu"), torch.float32, 1)

    def describe(self) -> Description:
        return Description(self._class, os.getpid(), platform.node())

    def fetch_and_run(self, task: Task, parcels: Mapping[str, Any], fetch_s: float) -> Result:
        time.sleep(self._sleep.seconds)
        return self._result(task)

    def _result(self, task: Task) -> Result:
        B, T = task.count, self._sleep.T
        return Result(
            (np.zeros((B, T), np.int64), np.full(B, T)),
            np.zeros((B, T), np.float32),
            np.zeros((B, T, self._sleep.N, self._sleep.K), np.float32),
            task.spec.clamp,
            task.wanted,
            self._class,
            platform.node(),
            os.getpid(),
            self._sleep.seconds,
            0.0,
            0.0,
        )


class Dormitory(Sleeper):
    """A process for many workers; each is asked through a ``Bed``."""

    def __init__(self, sleep: Sleep) -> None:
        super().__init__(sleep)
        self._busy: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def sleep(self, number: int, task: Task, parcels: Mapping[str, Any], fetch_s: float) -> Result:
        async with self._busy[number]:
            await asyncio.sleep(self._sleep.seconds)
        return self._result(task)


class Bed:
    """One worker of a dormitory, as a pool holds it: ``worker.method.remote(...)``."""

    def __init__(self, dormitory: Any, number: int) -> None:
        """
        Args:
            dormitory: the handle of an actor of ``Dormitory``.
        """
        self.describe = dormitory.describe
        self.fetch_and_run = _Numbered(dormitory.sleep, number)


class _Numbered:
    def __init__(self, method: Any, number: int) -> None:
        self._method, self._number = method, number

    def remote(self, *arguments: Any) -> Any:
        return self._method.remote(self._number, *arguments)
