"""Rollouts from real actors are those of one process, whoever dies on the way."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray
import torch

from algorithms.bleu import References
from algorithms.types import RolloutSpec, Sequences
from toys.troubled import (
    PATH,
    POLICY,
    REQUEST,
    SPEC,
    D,
    G,
    cnn,
    equal,
    lstm,
    of_one_process,
    pool,
    staff,
    told_until,
)
from workers.failures import UnitFailed, WorkersLost, WrongWeights
from workers.members import Members
from workers.pool import InProcessPool, Request
from workers.ray_pool import WATCH_S, Limits, RayPool, answers
from workers.ray_worker import RayRolloutWorker
from workers.rollout import Networks
from workers.weights import Weights, pack

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def everyone(cluster: Any) -> Iterator[list[Any]]:
    with staff(4) as actors:
        yield actors


@pytest.mark.parametrize(("count", "unit"), [(1, 3), (2, 3), (4, 3), (4, 7), (2, 100)])
def test_the_result_is_that_of_one_process(workers, count, unit):
    with pool(workers[:count], unit) as p:
        assert equal(p.collect(SPEC, REQUEST, PATH), of_one_process(unit))
        told = p.report()
    assert told["rollout/units_total"] == -(-22 // unit)
    assert told["fault/worker_deaths_total"] == told["staleness/dropped_total"] == 0
    assert told["staleness/generator_max"] == told["staleness/discriminator_max"] == 0


@pytest.mark.parametrize(
    ("spec", "request_"),
    [
        (RolloutSpec(scores=()), Request(22, temperature=0.8)),
        (RolloutSpec(samples=2, scores=("logit", "bleu_2")), Request(9)),
        (
            RolloutSpec(completions=2, clamp=2),
            Request(7, real=Sequences(torch.randint(2, 30, (7, 9)), torch.full((7,), 9))),
        ),
    ],
    ids=["negatives", "bleu", "clamped"],
)
def test_every_kind_of_request(workers, spec, request_):
    references = References(Sequences(torch.arange(2, 20).view(2, 9), torch.tensor([9, 9])))
    with InProcessPool(G, D, threads=1, unit=3, sample_unit=5, memory=2**24) as alone, pool(workers[:2]) as p:
        for one in (alone, p):
            one.refer(references)
        alone.publish(G, D, POLICY)
        assert equal(p.collect(spec, request_, PATH), alone.collect(spec, request_, PATH))


def test_the_order_in_which_units_finish_does_not_matter(workers, expected):
    delays = {0: 0.4, 3: 0.0, 6: 0.3, 9: 0.05, 12: 0.2, 15: 0.0, 18: 0.1, 21: 0.0}
    ray.get([one.trouble.remote(delays=delays) for one in workers], timeout=60)
    with pool(workers) as p:
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)


@pytest.mark.parametrize(
    ("network", "tensor"),
    [("discriminator", "gate.weight"), ("generator", "recurrent"), ("policy", "banned")],
)
def test_one_flipped_bit_is_fatal(workers, monkeypatch, network, tensor):
    put: Callable[[object], Any] = ray.put

    def damage(content: object) -> Any:
        if isinstance(content, Weights) and content.network == network:
            buffer = content.buffer.copy()
            buffer[next(entry.offset for entry in content.entries if entry.name == tensor)] ^= 1
            content = dataclasses.replace(content, buffer=buffer)
        return put(content)

    monkeypatch.setattr(ray, "put", damage)
    with pool(workers[:2], publish=False) as p:
        seed = 10 * len(network)  # no worker holds such networks yet
        p.publish(lstm(seed), cnn(seed + 1), lstm(seed + 2))
        with pytest.raises(WrongWeights, match=f"{network}, version 1: after loading") as caught:
            p.collect(SPEC, REQUEST, PATH)
        assert (caught.value.network, caught.value.version) == (network, 1)
        assert p.report()["weights/mismatch_total"] == 1


def test_an_exception_on_data_is_tried_on_two_workers_then_names_the_unit(workers, expected):
    wrong = RolloutSpec(completions=3, scores=("no_such_score",))
    with pool(workers[:2]) as p:
        with pytest.raises(UnitFailed) as caught:
            p.collect(wrong, REQUEST, PATH)
        told = str(caught.value)
        assert "on workers 0, 1" in told or "on workers 1, 0" in told
        assert "(path (7, 'adversarial', 3), first " in told
        assert "Traceback" in told
        assert "no_such_score" in told
        # what was still under way does not reach the next request
        assert equal(p.collect(SPEC, REQUEST, PATH), expected)
        assert p.report()["fault/worker_deaths_total"] == 0


def test_one_worker_alone_tries_twice(workers):
    with (
        pool(workers[:1]) as p,
        pytest.raises(UnitFailed, match="raised an exception 2 times, on workers 0, 0"),
    ):
        p.collect(RolloutSpec(completions=3, scores=("no_such_score",)), REQUEST, PATH)


def test_unchanged_weights_are_not_sent_again(workers):
    other = lstm(5)
    with pool(workers[:1]) as p:
        p.collect(SPEC, REQUEST, PATH)
        first = p.report()
        p.publish(lstm(1), cnn(3), lstm(2))  # equal networks
        p.collect(SPEC, REQUEST, PATH)
        second = p.report()
        p.publish(G, D, other)
        p.collect(SPEC, REQUEST, PATH)
        third = p.report()
    assert first["weights/published_bytes"] == sum(len(pack("", one, 1).buffer) for one in (G, POLICY, D))
    assert second["weights/published_bytes"] == second["time/weight_load"] == 0
    assert third["weights/published_bytes"] == len(pack("", other, 1).buffer)
    versions = [third[f"weights/{name}_version"] for name in ("generator", "discriminator", "rollout_policy")]
    assert versions == [1, 1, 2]


def test_different_device_classes_are_told(workers, expected):
    with pool(workers[:2]) as p:
        p.collect(SPEC, REQUEST, PATH)
        assert p.exact
        assert len(p.classes) == 1
    ray.get(workers[1].trouble.remote(build=" another build"), timeout=60)
    with pool(workers[:2]) as p:
        told_until(p, "fault/workers_alive", 2)
        assert not p.exact
        assert len(p.classes) == 2


def test_greeting_waits_for_everyone(workers):
    ray.get(workers[1].trouble.remote(build=" another build"), timeout=60)
    with pool(workers, publish=False) as p:
        p.greet()
        assert not p.exact
        assert any("another build" in one for one in p.classes)
        assert p.report()["fault/workers_alive"] == 4


def test_one_worker_of_another_class_than_the_learners_cpu_is_told(workers):
    ray.get(workers[0].trouble.remote(build=" another build"), timeout=60)
    sizes = {"unit": 3, "sample_unit": 5}
    with RayPool(workers[:1], **sizes) as on_cpu, RayPool(workers[:1], **sizes, device="cuda") as on_gpu:
        for p in (on_cpu, on_gpu):
            p.greet()
        assert (on_cpu.exact, len(on_cpu.classes)) == (False, 2)
        assert (on_gpu.exact, len(on_gpu.classes)) == (True, 1)


def test_greeting_ends_in_time(cluster, workers):
    unplaceable = ray.remote(RayRolloutWorker).options(resources={"moon": 1})
    nowhere = unplaceable.remote(Networks(lstm(1), lstm(1), cnn(1)), 2**24)
    limits = Limits(patience_s=1.5)
    with pool([nowhere, workers[0]], publish=False, limits=limits) as p:
        started = time.monotonic()
        p.greet()
        assert 1.4 < time.monotonic() - started < 20
        assert p.report()["fault/workers_alive"] == 1
    with pool([nowhere], publish=False, limits=limits) as p, pytest.raises(WorkersLost, match="0 of 1"):
        p.greet()
    with pool([], publish=False, limits=limits) as p, pytest.raises(WorkersLost, match="None was given"):
        p.greet()
    ray.kill(nowhere)


def test_all_answers_are_taken_at_once_and_errors_are_answers(cluster, monkeypatch):
    @ray.remote
    def wrong() -> None:
        raise ValueError("so it is")

    refs = [ray.put(1), wrong.remote(), ray.put(2)]
    ray.wait(refs, num_returns=3, timeout=60)
    first, error, second = answers(refs)
    assert (first, second) == (1, 2)
    assert "so it is" in str(error)
    get, asked = ray.get, []
    monkeypatch.setattr(ray, "get", lambda refs, timeout: asked.append(refs) or get(refs, timeout=timeout))
    assert answers([refs[0], refs[2]]) == [1, 2]
    assert len(asked) == 1


def test_all_workers_are_looked_at_now_and_then_only(workers, monkeypatch):
    looks, check = [], Members.check
    monkeypatch.setattr(Members, "check", lambda members: looks.append(0) or check(members))
    with pool(workers[:1], unit=1) as p:
        started = time.monotonic()
        for _ in range(2):
            p.collect(SPEC, Request(40), PATH)
        took = time.monotonic() - started
    assert 2 <= len(looks) <= 2 + took / WATCH_S


def test_nothing_is_collected_before_it_is_published(workers):
    with pool(workers[:1], publish=False) as p, pytest.raises(ValueError, match="publish networks"):
        p.collect(SPEC, REQUEST, PATH)


def test_workers_that_never_answer_end_the_request_in_time(cluster):
    unplaceable = ray.remote(RayRolloutWorker).options(resources={"moon": 1})
    nowhere = unplaceable.remote(Networks(lstm(1), lstm(1), cnn(1)), 2**24)
    with pool([nowhere], limits=Limits(patience_s=1.5)) as p:
        started = time.monotonic()
        with pytest.raises(WorkersLost, match="has not answered yet"):
            p.collect(SPEC, REQUEST, PATH)
        assert time.monotonic() - started < 20
    ray.kill(nowhere)


def test_no_workers_at_all_is_told_at_once(cluster):
    with pool([], limits=Limits(patience_s=60)) as p, pytest.raises(WorkersLost, match="None was given"):
        p.collect(SPEC, REQUEST, PATH)
