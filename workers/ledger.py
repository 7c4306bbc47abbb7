"""What a pool has done, counted where it happens and told as metrics.

Counts that end in ``_total`` run since the pool began; everything else is since the last report. What is
not defined (the median of no units) is absent.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from workers.weights import Tag

LAGGING = ("generator", "discriminator")
"""Networks whose lag behind the learner is reported."""


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of these tasks ends if each goes, in order, to the first worker that is free."""
    if not seconds:
        return 0.0
    free = [0.0] * max(1, workers)
    for one in seconds:
        heapq.heappush(free, heapq.heappop(free) + one)
    return max(free)


class Ledger:
    """Counters and times of one pool. Not shared between threads."""

    def __init__(self, workers: int) -> None:
        """
        Args:
            workers: how many there are, alive or not.
        """
        self.total = workers
        self.alive = self.gone = self.quarantined = 0
        self.units = self.retries = self.dropped = self.mismatches = self.deaths = self.restarts = 0
        self._versions: dict[str, int] = {}
        self._most_alive = 0
        self._compute: list[float] = []  # of the collect under way
        self._clear()

    def _clear(self) -> None:
        self._seconds: list[float] = []  # of each unit since the last report
        self._lags: dict[str, list[int]] = {name: [] for name in LAGGING}
        self._wall = self._explained = self._offered = self._publish = self._load = 0.0
        self._bytes = 0

    def published(self, seconds: float, tags: Mapping[str, Tag], size: int) -> None:
        """Networks were handed over: how long it took, which are current, bytes that were new."""
        self._publish += seconds
        self._versions = {network: tag.version for network, tag in tags.items()}
        self._bytes += size

    def set_alive(self, workers: int) -> None:
        """How many workers can take a unit now."""
        self.alive = workers
        self._most_alive = max(self._most_alive, workers)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """The time that the learner waits for rollouts."""
        started, self._compute, self._most_alive = time.perf_counter(), [], self.alive
        loaded = self._load
        try:
            yield
        finally:
            wall, workers = time.perf_counter() - started, max(1, self._most_alive)
            self._wall += wall
            self._explained += makespan(self._compute, workers)
            self._offered += wall * workers
            self._offered -= min(self._load - loaded, wall * workers)  # a worker that loads is not idle

    def unit(self, compute: float, load: float, used: Mapping[str, Tag]) -> None:
        """A unit's result was accepted: the worker's seconds, and the versions that it carries."""
        self.units += 1
        self._compute.append(compute)
        self._seconds.append(compute)
        self._load += load
        for network, lags in self._lags.items():
            lags.append(self._versions.get(network, 0) - used[network].version)

    def report(self) -> dict[str, float]:
        """The metrics, by name; what is not a total starts anew.

        ``perf/rpc_overhead_ratio`` is the share of the time inside ``collect`` that computing does not
        explain: 1 - (time that the same units would take, each given in order to the first free worker and
        at no cost between them) / (time that passed). Uneven units or more workers than units are
        therefore no overhead; sending, loading weights, waiting for a lost worker and merging are.

        ``perf/worker_idle_ratio`` is the share of the workers' time inside ``collect`` in which they
        neither computed nor loaded, uneven ends included.
        """
        metrics: dict[str, float] = {
            "rollout/units_total": self.units,
            "rollout/unit_retries_total": self.retries,
            "staleness/dropped_total": self.dropped,
            "weights/mismatch_total": self.mismatches,
            "weights/published_bytes": self._bytes,
            "fault/workers_alive": self.alive,
            "fault/workers_total": self.total,
            "fault/workers_gone": self.gone,
            "fault/quarantined_total": self.quarantined,
            "fault/worker_deaths_total": self.deaths,
            "fault/worker_restarts_total": self.restarts,
            "time/rollout_wait": self._wall,
            "time/rollout_compute": sum(self._seconds),
            "time/weight_publish": self._publish,
            "time/weight_load": self._load,
        }
        names = {"generator": "generator", "discriminator": "discriminator", "policy": "rollout_policy"}
        for network, version in self._versions.items():
            metrics[f"weights/{names[network]}_version"] = version
        if self._seconds and self._wall:
            busy = sum(self._seconds)
            metrics["rollout/unit_s_p50"], metrics["rollout/unit_s_p99"] = map(
                float, np.percentile(self._seconds, (50, 99))
            )
            metrics["perf/units_per_s"] = len(self._seconds) / self._wall
            metrics["perf/rpc_overhead_ratio"] = max(0.0, 1 - self._explained / self._wall)
            metrics["perf/worker_idle_ratio"] = max(0.0, 1 - busy / self._offered) if self._offered else 0.0
            for network, lags in self._lags.items():
                metrics[f"staleness/{network}_max"] = max(lags)
                metrics[f"staleness/{network}_mean"] = sum(lags) / len(lags)
        self._clear()
        return {name: float(value) for name, value in metrics.items()}
