"""Pools of real and of sleeping workers, at tiny sizes; no time is asserted but the sleep itself."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.bench.scaling import compare_pools, sleep_through
from orchestrator.bench.work import reference

pytestmark = pytest.mark.ray


def test_pools_are_compared_on_the_same_work(cluster: Any, work):
    rows = compare_pools(work, quick=True)
    assert [row.pool for row in rows] == ["this process", "1 rollout worker", "2 rollout workers"]
    assert rows[0].ratio == 1
    assert all(row.ratio == pytest.approx(row.seconds / rows[0].seconds) for row in rows)


@pytest.mark.parametrize(("own", "processes"), [(2, 2), (1, 1)], ids=["processes", "beds"])
def test_sleeping_workers(cluster: Any, own: int, processes: int):
    row = sleep_through(reference(quick=True), cluster, 2, 0.02, 8, own=own)
    assert (row.workers, row.processes, row.units) == (2, processes, 8)
    assert row.seconds >= 4 * 0.02  # two workers, four units each
    assert row.efficiency == pytest.approx(4 * 0.02 / row.seconds)
    assert row.controller_s_per_unit > 0
