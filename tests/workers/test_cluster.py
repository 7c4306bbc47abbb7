"""Ray behind its door: what is refused, how calls end, and that nothing is left running or changed."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from toys.processes import eventually
from workers.calls import ActorHung, ActorLost
from workers.cluster import Cluster, assigned_device, start_cluster
from workers.placement import CannotPlace, Need

ROOT = Path(__file__).parents[2]
WORKER = Need("rollout worker", cpus=1)

pytestmark = pytest.mark.ray


class Refused(Exception):
    """Of this module, as a caller's own errors are of its own."""


class Toy:
    """An actor that does as it is told."""

    def __init__(self, content: Any = None) -> None:
        self.content = content

    def pid(self) -> int:
        return os.getpid()

    def size(self) -> int:
        return self.content.nbytes

    def title(self) -> str:
        return psutil.Process().cmdline()[0]

    def device(self) -> str:
        return assigned_device()

    def sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def refuse(self, reason: str) -> None:
        raise Refused(reason)

    def time_out(self) -> None:
        import ray

        raise ray.exceptions.GetTimeoutError("inside")

    def raise_what_cannot_be_sent(self) -> None:
        class Odd(Exception):
            def __init__(self, a: int, b: int) -> None:
                super().__init__(f"odd {a + b}")

        raise Odd(1, 2)

    def end(self) -> None:
        os._exit(3)


class Picky:
    def __init__(self) -> None:
        raise Refused("not like this")


class Slow:
    def __init__(self) -> None:
        time.sleep(600)


@pytest.fixture(scope="module", autouse=True)
def _sent_by_value(cluster: Cluster) -> Iterator[None]:
    """Actors cannot import a test module."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def toy(cluster: Cluster) -> Iterator[Any]:
    """An actor that ends with its test."""
    (actor,) = cluster.create(Toy, need=Need("learner"))
    yield actor
    cluster.release([actor])


def test_methods_are_functions(cluster: Cluster, toy: Any):
    stub = cluster.stub(toy, "learner")
    assert stub.sleep(seconds=0) == 0
    assert stub.pid() != os.getpid()
    assert stub.title().startswith("ray::Toy")
    assert stub.device() == "cpu"
    call = stub.later("sleep", 0.3)
    assert not call.done()
    assert eventually(call.done)
    assert call.result() == 0.3


def test_what_a_method_raises_comes_out_as_it_was(cluster: Cluster, toy: Any):
    stub = cluster.stub(toy, "learner")
    with pytest.raises(Refused) as caught:
        stub.refuse("too few sequences")
    assert type(caught.value) is Refused
    assert str(caught.value) == "too few sequences"
    assert caught.value.__suppress_context__
    (note,) = caught.value.__notes__
    assert note.startswith("in the learner: ray::Toy.refuse()")
    assert "raise Refused(reason)" in note
    with pytest.raises(TimeoutError, match="inside"):  # not taken for a wait that goes on
        stub.time_out()
    with pytest.raises(RuntimeError, match="odd 3"):
        stub.raise_what_cannot_be_sent()
    assert stub.sleep(0) == 0


def test_a_call_that_does_not_end_is_told_in_time(cluster: Cluster, toy: Any):
    with pytest.raises(ActorHung, match="the learner has not ended `sleep` after 1 s"):
        cluster.stub(toy, "learner", deadline_s=1.0).sleep(600)


def test_signals_are_handled_while_a_call_is_waited_for(cluster: Cluster, toy: Any):
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.7)
    try:
        with pytest.raises(KeyboardInterrupt):
            cluster.stub(toy, "learner").sleep(60)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 30


def test_a_death_is_told_in_one_line(cluster: Cluster, toy: Any):
    stub = cluster.stub(toy, "learner")
    pid = stub.pid()
    call = stub.later("sleep", 600)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ActorLost) as caught:
        call.result()
    assert caught.value.role == "learner"
    assert "died" in caught.value.reason
    assert "\n" not in str(caught.value)
    with pytest.raises(ActorLost, match="the learner was lost"):
        stub.pid()


def test_a_dead_actor_starts_again_with_what_it_was_made_with(cluster: Cluster):
    actors = cluster.create(Toy, np.zeros(1_000_000), need=WORKER, max_restarts=2)
    stub = cluster.stub(actors[0], "rollout worker")

    def answers() -> bool:
        try:
            return stub.size() == 8_000_000
        except ActorLost:
            return False

    for _ in range(2):  # the first may be spared by a process that Ray had ready
        with pytest.raises(ActorLost):
            stub.end()
        assert eventually(answers)
    with pytest.raises(ActorLost):
        stub.end()
    assert not eventually(answers, 1.0)
    cluster.release(actors)


def test_what_a_constructor_raises_comes_out_as_it_was(cluster: Cluster):
    with pytest.raises(Refused, match="not like this"):
        cluster.create(Picky, need=Need("learner"))
    assert eventually(lambda: cluster.describe()["free"].get("CPU") == 8)


def test_a_constructor_that_does_not_end(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "patience_s", 1.5)
    with pytest.raises(ActorHung, match=r"the learner has not ended `__init__`.*cluster\.patience_s"):
        cluster.create(Slow, need=Need("learner"))
    assert eventually(lambda: cluster.describe()["free"].get("CPU") == 8)


def test_what_can_never_be_placed_is_refused_at_once(cluster: Cluster):
    started = time.monotonic()
    with pytest.raises(CannotPlace, match="room for at most 8 rollout workers of 1 CPU"):
        cluster.create(Toy, need=Need("rollout worker", 9))
    with pytest.raises(CannotPlace, match=r"there is no GPU for the learner: set learner\.gpus=0"):
        cluster.create(Toy, need=Need("learner", gpus=64, setting="learner.gpus"))
    assert time.monotonic() - started < 10


def test_room_that_others_hold_is_waited_for_and_then_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    others = cluster.create(Toy, need=Need("other", cpus=6))
    assert eventually(lambda: cluster.describe()["free"].get("CPU") == 2)
    monkeypatch.setattr(cluster, "patience_s", 3.0)
    with pytest.raises(CannotPlace, match=r"after 3 s 1 of 3 still wait; free are 0 of 8 CPU"):
        cluster.create(Toy, need=Need("rollout worker", 3))
    assert eventually(lambda: cluster.describe()["free"].get("CPU") == 2)  # those that were made are gone
    cluster.release(others)


def test_a_connection_that_is_there_is_used_and_left(cluster: Cluster):
    import ray

    before = signal.getsignal(signal.SIGTERM)
    with start_cluster(needs=[WORKER]) as second:
        (actor,) = second.create(Toy, need=WORKER)
        pid = second.stub(actor, "rollout worker").pid()
        assert psutil.pid_exists(pid)
    assert eventually(lambda: not psutil.pid_exists(pid))
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(CannotPlace, match="8 CPU"):
        start_cluster(needs=[Need("rollout worker", 100)])
    assert ray.is_initialized()


def test_a_cluster_describes_itself(cluster: Cluster):
    told = json.loads(json.dumps(cluster.describe()))
    assert told["started_here"]
    assert told["address"].startswith("127.0.0.1:")
    assert list(told["nodes"].values()) == [{"CPU": 8.0, "GPU": 0.0}]
    assert cluster.gpus() == 0
