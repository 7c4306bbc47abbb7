"""What is counted, and when it starts anew."""

from __future__ import annotations

import time

import pytest

from workers.ledger import Ledger, makespan
from workers.weights import Tag

TAGS = {name: Tag(3, "x") for name in ("generator", "policy", "discriminator")}


def test_each_task_goes_to_the_first_free_worker():
    assert makespan([], 2) == 0
    assert makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert makespan([1.0, 1.0, 1.0], 2) == 2.0
    assert makespan([1.0, 2.0], 8) == 2.0


def worked(wall: float, seconds: list[float], workers: int, load: float = 0.0) -> Ledger:
    """A ledger that collected such units once."""
    ledger = Ledger(workers)
    ledger.set_alive(workers)
    ledger.published(0.5, TAGS, 100)
    with ledger.collecting():
        time.sleep(wall)
        for one in seconds:
            ledger.unit(one, load, TAGS)
    return ledger


def test_time_that_computing_explains_is_no_overhead():
    told = worked(0.2, [0.2, 0.1], 2).report()
    assert told["perf/rpc_overhead_ratio"] == pytest.approx(0, abs=0.1)  # uneven units are no overhead
    assert told["perf/worker_idle_ratio"] == pytest.approx(0.25, abs=0.1)
    assert worked(0.2, [0.1, 0.1], 2).report()["perf/rpc_overhead_ratio"] == pytest.approx(0.5, abs=0.1)


def test_loading_is_overhead_but_no_idleness():
    told = worked(0.2, [0.1, 0.1], 2, load=0.1).report()
    assert told["perf/rpc_overhead_ratio"] == pytest.approx(0.5, abs=0.1)
    assert told["perf/worker_idle_ratio"] == pytest.approx(0, abs=0.15)
    assert told["time/weight_load"] == pytest.approx(0.2)


def test_totals_run_on_and_the_rest_starts_anew():
    ledger = worked(0.01, [0.25, 0.25, 0.5], 2)
    ledger.deaths = ledger.retries = 2
    first, second = ledger.report(), ledger.report()
    assert first["rollout/units_total"] == second["rollout/units_total"] == 3
    assert first["fault/worker_deaths_total"] == second["fault/worker_deaths_total"] == 2
    assert first["rollout/unit_s_p50"] == 0.25
    assert first["time/rollout_compute"] == 1.0
    assert first["weights/published_bytes"] == 100
    assert second["weights/published_bytes"] == second["time/rollout_wait"] == 0
    assert second["weights/generator_version"] == second["weights/rollout_policy_version"] == 3
    assert not {
        name for name in second if "unit_s" in name or "ratio" in name or name.startswith("staleness/g")
    }


def test_the_lag_is_that_of_the_versions_that_results_carry():
    ledger = worked(0.01, [0.1], 1)
    with ledger.collecting():
        ledger.unit(0.1, 0.0, TAGS | {"generator": Tag(1, "y")})
    told = ledger.report()
    assert (told["staleness/generator_max"], told["staleness/generator_mean"]) == (2, 1)
    assert (told["staleness/discriminator_max"], told["staleness/discriminator_mean"]) == (0, 0)


def test_no_name_is_a_path_prefix_of_another():
    names = worked(0.01, [0.1], 1).report()
    assert not [(a, b) for a in names for b in names if b.startswith(a + "/")]
    assert all(isinstance(value, float) for value in names.values())
