"""The rollout worker as an actor: it fetches by reference what a task wants and it lacks."""

from __future__ import annotations

import time
from pathlib import Path

import ray
from ray import exceptions

from workers.failures import WeightsLost
from workers.messages import Failed, Result, Task
from workers.overdue import EARLIER, Overdue
from workers.rollout import Networks
from workers.store import Parcels
from workers.worker import RolloutWorker


class RayRolloutWorker(RolloutWorker):
    """The actor: a rollout worker that fetches by reference what a task wants and it lacks."""

    def __init__(
        self, networks: Networks, memory: int, table_bytes: int = 0, stacks: Path | None = None
    ) -> None:
        """
        Args:
            stacks: a folder that is told where it stands when a unit is overdue.
        """
        # at run time, since that module makes actors of this class
        from workers.cluster import assigned_device

        super().__init__(networks, memory, assigned_device(), table_bytes)
        self.node = ray.get_runtime_context().get_node_id()
        self._overdue = Overdue(stacks, "rollout worker")

    def fetch_and_run(self, task: Task, parcels: Parcels, fetch_s: float) -> Result | Failed:
        """One unit, weights first; exceptions are data.

        Args:
            fetch_s: seconds that fetching may take; the whole may take twice as long.
        """
        with self._overdue.after(2 * EARLIER * fetch_s):
            return self._fetch_and_run(task, parcels, fetch_s)

    def _fetch_and_run(self, task: Task, parcels: Parcels, fetch_s: float) -> Result | Failed:
        try:
            if missing := self.missing(task.wanted):
                started = time.perf_counter()
                fetched = ray.get([parcels[name][0] for name in missing], timeout=fetch_s)
                self.spent_fetching(time.perf_counter() - started)
                for name, content in zip(missing, fetched, strict=True):
                    self.take(name, content, task.wanted)
        except (exceptions.ObjectLostError, exceptions.GetTimeoutError) as error:
            return self.failed(WeightsLost(f"weights were not to be had within {fetch_s:g} s: {error}"))
        except Exception as error:
            return self.failed(error)
        return self.attempt(task)
