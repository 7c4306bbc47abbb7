"""Whatever dies, hangs or is lost: the same rollouts, or an error that says what happened."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from toys.troubled import (
    PATH,
    POLICY,
    REQUEST,
    SPEC,
    D,
    G,
    calmed,
    cnn,
    equal,
    gone,
    lstm,
    pid,
    pool,
    put_and_lose,
    staff,
    told_until,
    worker,
)
from workers.failures import MachinesFailed, PoolLost, UnitLost, WeightsLost, WorkersLost
from workers.pool import InProcessPool
from workers.ray_pool import Limits
from workers.weights import Weights

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def everyone(cluster: Any) -> Iterator[list[Any]]:
    with staff(2) as actors:
        yield actors


def kill_when(marker: Path, victim: int) -> threading.Thread:
    """Kills a process as soon as the file is there."""

    def wait() -> None:
        until = time.monotonic() + 60
        while not marker.exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_worker_killed_in_the_middle_changes_nothing(workers, expected, tmp_path):
    marker = tmp_path / "begun"
    victim = pid(workers[0])
    ray.get(workers[0].trouble.remote(hang=str(marker), stopped=set(range(0, 22, 3))), timeout=60)
    with pool(workers[:2]) as p:
        killer = kill_when(marker, victim)
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)
        killer.join(60)
        assert gone(victim)
        told = p.report()
        assert told["fault/worker_deaths_total"] == 1
        assert told["rollout/unit_retries_total"] == 2  # both that it had in flight
        told = told_until(p, "fault/worker_restarts_total", 1)  # it joins again, with the weights
        assert told["fault/workers_alive"] == 2
        assert pid(workers[0]) != victim
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)


def test_a_restarted_worker_loads_the_weights_anew(workers):
    with pool(workers[:1], publish=False) as p:
        p.publish(lstm(31), cnn(32), None)  # the worker does not hold them from another test
        expected = p.collect(SPEC, REQUEST, PATH)
        assert p.report()["time/weight_load"] > 0
        victim = pid(workers[0])
        os.kill(victim, signal.SIGKILL)
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)
        assert gone(victim)
        told = p.report()
        assert told["time/weight_load"] > 0
        assert told["weights/published_bytes"] == 0
        assert told["fault/worker_deaths_total"] == told["fault/worker_restarts_total"] == 1


def test_a_worker_that_hangs_is_killed_and_its_units_done_elsewhere(workers, expected, tmp_path):
    ray.get(workers[0].trouble.remote(hang=str(tmp_path / "hangs"), stopped=set(range(22))), timeout=60)
    victim = pid(workers[0])
    with pool(workers[:2], limits=Limits(unit_deadline_s=2.0)) as p:
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)
        assert p.report()["fault/worker_deaths_total"] == 1
        told_until(p, "fault/worker_restarts_total", 1)
    assert gone(victim)


def test_a_unit_that_always_hangs_is_given_up(workers, tmp_path):
    ray.get([one.trouble.remote(hang=str(tmp_path / "h"), stopped={3}) for one in workers], timeout=60)
    with (
        pool(workers[:2], limits=Limits(unit_deadline_s=1.0)) as p,
        pytest.raises(UnitLost, match=r"unit 2 of 8 .*first 3, count 3.*not finished 2 times"),
    ):
        p.collect(SPEC, REQUEST, PATH)


def test_results_of_other_weights_are_dropped(workers, expected):
    ray.get([one.trouble.remote(stale=1) for one in workers], timeout=60)
    with pool(workers) as p:
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)
        told = p.report()
    assert 1 <= told["staleness/dropped_total"] <= 2
    assert told["rollout/unit_retries_total"] == told["staleness/dropped_total"]


def test_a_worker_that_fails_again_and_again_is_put_in_quarantine(workers, expected):
    broken = worker(-1)
    ray.get(broken.trouble.remote(stale=1000), timeout=60)
    with pool([broken, workers[0]]) as p:
        for _ in range(4):
            assert equal(p.collect(SPEC, REQUEST, PATH), expected)
        told = told_until(p, "fault/quarantined_total", 1)
        assert p.gone() == [0]
        assert (told["fault/workers_gone"], told["fault/workers_alive"]) == (1, 1)
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)
        assert p.report()["staleness/dropped_total"] == told["staleness/dropped_total"]  # it is not asked


def test_weights_that_the_store_lost_are_put_again(workers, monkeypatch):
    put: Callable[[object], Any] = ray.put
    lost = []

    def lose_first(content: object) -> Any:
        if lost:
            return put(content)
        lost.append(put_and_lose(content))
        return lost[0]

    monkeypatch.setattr(ray, "put", lose_first)
    other = lstm(21)
    with InProcessPool(other, D, threads=1, unit=3, sample_unit=5, memory=2**24) as alone:
        wanted = alone.collect(SPEC, REQUEST, PATH)
    with pool(workers[:2], publish=False) as p:
        p.publish(other, D, None)
        assert equal(p.collect(SPEC, REQUEST, PATH), wanted)
        told = p.report()
    assert len(lost) == 1
    assert told["rollout/unit_retries_total"] > 0
    assert told["fault/worker_deaths_total"] == 0


def test_weights_that_are_lost_again_and_again_are_an_error(workers, monkeypatch):
    put: Callable[[object], Any] = ray.put

    def lose(content: object) -> Any:
        lost = isinstance(content, Weights) and content.network == "generator"
        return put_and_lose(content) if lost else put(content)

    monkeypatch.setattr(ray, "put", lose)
    with pool(workers[:1], publish=False, limits=Limits(data_tries=1)) as p:
        p.publish(lstm(22), D, None)
        with pytest.raises(WeightsLost, match="lost 2 times in one request"):
            p.collect(SPEC, REQUEST, PATH)


def test_a_full_store_has_a_type_and_an_advice(workers, expected, monkeypatch):
    put: Callable[[object], Any] = ray.put
    full = [True]

    def put_once_there_is_room(content: object) -> Any:
        if full:
            raise ray.exceptions.ObjectStoreFullError("no room for 5 bytes")
        return put(content)

    monkeypatch.setattr(ray, "put", put_once_there_is_room)
    with pool(workers[:1], publish=False) as p:
        told = r"(?s)while weights were published: .*no room.*resume with a larger cluster\.store_mb"
        with pytest.raises(PoolLost, match=told) as caught:
            p.publish(G, D, POLICY)
        assert isinstance(caught.value, MachinesFailed)
        full.clear()
        p.publish(G, D, POLICY)
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)


def test_what_ray_raises_here_in_a_request_has_a_type(workers, expected, monkeypatch):
    def broken(*_: object, **__: object) -> Any:
        raise ray.exceptions.RaySystemError("the daemon is gone")

    with pool(workers) as p:
        with monkeypatch.context() as patch:
            patch.setattr(ray, "wait", broken)
            with pytest.raises(PoolLost, match=r"while rollouts were collected: .*the daemon is gone.*logs"):
                p.collect(SPEC, REQUEST, PATH)
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)


def test_a_worker_that_comes_back_as_another_class_is_noticed(workers, expected):
    with pool(workers[:1]) as p:
        p.greet()
        assert p.exact
        ray.get(workers[0].trouble.remote(build=" of another machine"), timeout=60)
        p.collect(SPEC, REQUEST, PATH)  # nobody asks it again, but its results say so
        assert not p.exact
        assert len(p.classes) == 2
        calmed(workers)
        p.greet()
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)
        assert not p.exact


def test_a_worker_is_added_when_others_are_gone(cluster, workers, expected):
    mortal = worker(0)
    with pool([mortal], limits=Limits(patience_s=30)) as p:
        p.collect(SPEC, REQUEST, PATH)
        os.kill(pid(mortal), signal.SIGKILL)
        with pytest.raises(WorkersLost):
            p.collect(SPEC, REQUEST, PATH)
        p.add(workers[0])
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)
        told = p.report()
    assert (told["fault/workers_total"], told["fault/workers_alive"]) == (2, 1)


def test_workers_that_are_gone_for_good_end_the_request(cluster, tmp_path):
    mortal = [worker(0) for _ in range(2)]
    with pool(mortal, limits=Limits(patience_s=30)) as p:
        p.collect(SPEC, REQUEST, PATH)
        victims = [pid(one) for one in mortal]
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        started = time.monotonic()
        with pytest.raises(
            WorkersLost, match=r"0 of 2 rollout workers are alive.*2 are gone for good"
        ) as caught:
            p.collect(SPEC, REQUEST, PATH)
        assert time.monotonic() - started < 30
        assert "worker 1: lost 1 times" in str(caught.value)
        assert all(gone(victim) for victim in victims)
        assert p.report()["fault/workers_alive"] == 0
