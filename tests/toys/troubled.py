"""Rollout workers on Ray with which a test can play, and the small networks that they hold."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
import torch

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.types import Alphabet, Rollouts, RolloutSpec
from workers.messages import Failed, Result, Task
from workers.pool import InProcessPool, Request
from workers.ray_pool import Limits, RayPool
from workers.ray_worker import RayRolloutWorker
from workers.rollout import Networks
from workers.weights import Tag
from workers.worker import skeleton

ALPHABET = Alphabet(size=30, start=0, end=1, pad=0, banned=(0,))
SPEC, REQUEST, PATH = RolloutSpec(completions=3), Request(22), (7, "adversarial", 3)
QUICK = Limits(patience_s=60, unit_deadline_s=60)


def lstm(seed: int) -> LSTMGenerator:
    torch.manual_seed(seed)
    return LSTMGenerator.Config(embedding=6, hidden=8, init_std=0.7).build(ALPHABET, 9)


def cnn(seed: int) -> TextCNN:
    torch.manual_seed(seed)
    return TextCNN.Config(embedding=4, filters=((1, 3), (3, 3))).build(ALPHABET, 9)


G, POLICY, D = lstm(1), lstm(2), cnn(3)


class Troubled(RayRolloutWorker):
    """A worker with which a test can play: slow, hanging, stale or different, as it is told."""

    def __init__(self, networks: Networks, memory: int) -> None:
        super().__init__(networks, memory)
        self.delays: dict[int, float] = {}
        self.hang: str | None = None
        self.stopped: set[int] = set()
        self.build = ""
        self.stale = 0
        self.own_class = self.device_class

    def trouble(self, **settings: Any) -> None:
        for name, value in settings.items():
            setattr(self, name, value)
        self.device_class = dataclasses.replace(self.own_class, torch=self.own_class.torch + self.build)

    def fetch_and_run(self, task: Task, parcels: Any, fetch_s: float) -> Result | Failed:
        time.sleep(self.delays.get(task.first, 0.0))
        if self.hang and task.first in self.stopped:
            Path(self.hang).touch()
            time.sleep(3600)
        result = super().fetch_and_run(task, parcels, fetch_s)
        if self.stale and isinstance(result, Result):
            self.stale -= 1
            used = dataclasses.replace(result.used, generator=Tag(0, "of another time"))
            return dataclasses.replace(result, used=used, scores=result.scores + 1)
        return result


class Owner:
    """Owns objects, until it is killed."""

    def put(self, content: object) -> list[Any]:
        return [ray.put(content)]


def actor(kind: type, *arguments: object, max_restarts: int) -> Any:
    """An actor of a class in this file, which its process may not be able to import."""
    module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(module)
    try:
        made = ray.remote(kind).options(num_cpus=0, max_restarts=max_restarts, max_task_retries=0)
        return made.remote(*arguments)
    finally:
        ray.cloudpickle.unregister_pickle_by_value(module)


def worker(max_restarts: int) -> Any:
    networks = skeleton(Networks(lstm(90), lstm(91), cnn(92)))
    return actor(Troubled, networks, 2**24, max_restarts=max_restarts)


@contextmanager
def staff(count: int) -> Iterator[list[Any]]:
    """Workers that restart as often as they die; killed at the end."""
    actors = [worker(-1) for _ in range(count)]
    ray.get([one.describe.remote() for one in actors], timeout=120)
    yield actors
    for one in actors:
        ray.kill(one)


def calmed(actors: list[Any]) -> list[Any]:
    """The same workers, once all live, without any trouble."""
    calm = {"delays": {}, "hang": None, "stopped": set(), "build": "", "stale": 0}
    until = time.monotonic() + 60
    for one in actors:
        while True:
            try:
                ray.get(one.trouble.remote(**calm), timeout=60)
                break
            except ray.exceptions.ActorUnavailableError:
                assert time.monotonic() < until
                time.sleep(0.1)
    return actors


def gone(process: int) -> bool:
    """Whether a process has ended; its parent may not have asked how."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pool(actors: list[Any], unit: int = 3, limits: Limits = QUICK, publish: bool = True) -> RayPool:
    made = RayPool(actors, unit=unit, sample_unit=5, limits=limits)
    if publish:
        made.publish(G, D, POLICY)
    return made


def pid(one: Any) -> int:
    return ray.get(one.describe.remote(), timeout=60).pid


def of_one_process(unit: int, threads: int = 2) -> Rollouts:
    with InProcessPool(G, D, threads=threads, unit=unit, sample_unit=5, memory=2**24) as alone:
        alone.publish(G, D, POLICY)
        return alone.collect(SPEC, REQUEST, PATH)


def equal(a: Rollouts, b: Rollouts) -> bool:
    return (
        torch.equal(a.sequences.tokens, b.sequences.tokens)
        and torch.equal(a.sequences.lengths, b.sequences.lengths)
        and torch.equal(a.log_prob, b.log_prob)
        and torch.equal(a.scores, b.scores)
        and a.clamp == b.clamp
    )


def told_until(p: RayPool, name: str, value: float) -> dict[str, float]:
    """Collects until a metric has a value: a restarted worker joins when it answers."""
    until = time.monotonic() + 60
    while (told := p.report())[name] != value:
        assert time.monotonic() < until, told
        p.collect(SPEC, REQUEST, PATH)
    return told


def put_and_lose(content: object) -> Any:
    """A reference to an object whose owner is dead."""
    owner = actor(Owner, max_restarts=0)
    (ref,) = ray.get(owner.put.remote(content), timeout=60)
    ray.kill(owner)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            ray.get(ref, timeout=10)
        except ray.exceptions.ObjectLostError:
            return ref
        time.sleep(0.05)
    raise AssertionError("the object outlives its owner")
