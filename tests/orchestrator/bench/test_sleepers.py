"""Workers that sleep look like workers that compute."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import torch

from algorithms.types import RolloutSpec
from orchestrator.bench.sleepers import Bed, Dormitory, Sleep, Sleeper
from workers.messages import Task, Wanted, device_class
from workers.rollout import Block
from workers.weights import Tag

WANTED = Wanted(Tag(1, "a"), Tag(1, "a"), Tag(2, "b"))
SLEEP = Sleep(0.05, T=5, N=3, K=1)


def task(count: int) -> Task:
    return Task.of(Block(0, count), RolloutSpec(completions=3), ("a",), 1.0, WANTED)


def test_a_unit_takes_its_time_and_has_a_result_of_its_size():
    worker = Sleeper(SLEEP)
    started = time.perf_counter()
    result = worker.fetch_and_run(task(4), {}, 1.0)
    assert time.perf_counter() - started >= 0.05
    assert result.used == WANTED
    made = result.rollouts()
    assert made.scores.shape == (4, 5, 3, 1)
    assert made.sequences.tokens.shape == made.log_prob.shape == (4, 5)
    assert made.sequences.lengths.tolist() == [5] * 4
    assert worker.describe().device_class == device_class(torch.device("cpu"), torch.float32, 1)


def test_workers_of_one_process_sleep_beside_one_another_and_each_one_unit_at_a_time():
    async def take(*numbers: int) -> float:
        worker, started = Dormitory(SLEEP), time.perf_counter()
        await asyncio.gather(*(worker.sleep(number, task(1), {}, 1.0) for number in numbers))
        return time.perf_counter() - started

    assert asyncio.run(take(*range(50))) < 50 * 0.05 / 2
    assert asyncio.run(take(7, 7, 7)) >= 3 * 0.05


def test_a_bed_is_asked_as_an_actor_is():
    asked: list[Any] = []

    class Method:
        def __init__(self, name: str) -> None:
            self.name = name

        def remote(self, *arguments: Any) -> None:
            asked.append((self.name, *arguments))

    class Handle:
        describe, sleep = Method("describe"), Method("sleep")

    bed = Bed(Handle(), 3)
    bed.describe.remote()
    bed.fetch_and_run.remote("task", "parcels", 1.0)
    assert asked == [("describe",), ("sleep", 3, "task", "parcels", 1.0)]
