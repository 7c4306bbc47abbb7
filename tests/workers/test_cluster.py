"""Ray behind its door: what is refused, how calls end, and that nothing is left running or changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

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


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


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


# What follows has clusters of its own, each in a process of its own.

OWN = """
import json, os, pathlib, signal, sys, time
import psutil
from workers.cluster import *

received = []
signal.signal(signal.SIGTERM, on_term := lambda *_: received.append("TERM"))
signal.signal(signal.SIGINT, on_int := lambda *_: received.append("INT"))
assert "ray" not in sys.modules

class Toy:
    def pid(self):
        return os.getpid(), "PYTHONDONTWRITEBYTECODE" in os.environ
    def sleep(self, seconds):
        time.sleep(seconds)
        return seconds

try:
    with start_cluster(needs=[Need("rollout worker", 2, cpus=0.8)], store_mb=100) as cluster:
        actors = cluster.create(Toy, need=Need("rollout worker", 2, cpus=0.8), max_restarts=1)
        stubs = [cluster.stub(actor, "rollout worker") for actor in actors]
        pids = [stub.pid()[0] for stub in stubs]
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        sockets = [c for p in family for c in p.net_connections("tcp") if c.status == "LISTEN"]
        listening = {c.laddr.ip.removeprefix("::ffff:") for c in sockets}
        assert signal.getsignal(signal.SIGTERM) is on_term and signal.getsignal(signal.SIGINT) is on_int
        if sys.argv[1] == "success":
            # Ctrl-C goes to everything in the foreground
            call = stubs[0].later("sleep", 1.0)
            time.sleep(0.3)
            os.killpg(0, signal.SIGINT)
            assert call.result() == 1.0 and received == ["INT"], received
            # as GNU timeout or a shell does
            call = stubs[0].later("sleep", 1.0)
            time.sleep(0.3)
            os.killpg(0, signal.SIGTERM)
            assert call.result() == 1.0 and received == ["INT", "TERM"], received
            time.sleep(1)
            assert [stub.pid()[0] for stub in stubs] == pids
            assert all(process.is_running() for process in family)
            os.kill(stubs[1].pid()[0], signal.SIGKILL)
            time.sleep(2)  # what Ray prints about it would come now
        told = cluster.describe() | {
            "folder": str(cluster.directory), "listening": sorted(listening), "inherited": stubs[0].pid()[1],
            "token": oct(pathlib.Path.home().joinpath(".ray", "auth_token").stat().st_mode & 0o777),
        }
        print(json.dumps(told), flush=True)
        if sys.argv[1] == "failure":
            raise RuntimeError("in the middle")
        if sys.argv[1] == "kill":
            time.sleep(600)
except RuntimeError as error:
    assert str(error) == "in the middle"
assert not pathlib.Path(told["folder"]).exists()
assert not psutil.Process().children(recursive=True)
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of a user who has set nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **more}


def left(mark: str) -> list[str]:
    """Processes that inherited the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:80])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", ["success", "failure", "kill"])
def test_nothing_is_left_of_a_cluster_of_our_own(tmp_path: Path, how: str):
    mark = str(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", OWN, how],
        env=environment(tmp_path, TEST_MARK=mark),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline() or "null")
        if how == "kill" and told:
            assert len(left(mark)) >= 6
            process.kill()
        out, err = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how == "kill" else 0), err
    assert out + err == ""  # Ray itself said nothing
    assert told["listening"] == ["127.0.0.1"]
    assert told["nodes"] == {"127.0.0.1": {"CPU": 2.0, "GPU": 0.0}}
    assert told["token"] == "0o600"
    assert told["inherited"] is False
    assert eventually(lambda: not left(mark)), left(mark)
    shutil.rmtree(told["folder"], ignore_errors=True)  # who is killed leaves it


def test_more_actors_than_memory_holds_are_refused_before_ray_starts(tmp_path: Path):
    code = """
import sys, time
from workers.cluster import *
started = time.monotonic()
try:
    start_cluster(needs=[Need("learner"), Need("rollout worker", 2_000_000)])
except CannotPlace as refused:
    print(refused)
assert time.monotonic() - started < 1
assert "ray" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=25,
        check=True,
    )
    assert "1 learner and 2000000 rollout workers take about 250 MiB" in done.stdout
    assert "room for at most" in done.stdout
    assert done.stderr == ""


def test_gpus_that_the_machine_lacks_are_refused_before_ray_starts(tmp_path: Path):
    code = """
import sys, time
from workers.cluster import *
try:
    start_cluster(needs=[Need("learner", gpus=64, setting="learner.gpus")])
except CannotPlace as refused:
    print(refused)
assert "ray" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=25,
        check=True,
    )
    assert done.stdout.startswith("cannot be placed: asked for 1 learner of 1 CPU and 64 GPU")


JOIN = """
import os, signal, sys, time
import psutil
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # the nodes of this test are on loopback
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = "0123456789abcdef0123456789abcdef"
from ray.cluster_utils import Cluster as Nodes
from workers.cluster import *

class Toy:
    def who(self):
        import ray
        import torch
        torch.cuda.is_available = lambda: True  # the GPU of this test is a name
        return os.getpid(), assigned_device(), ray.get_runtime_context().get_node_id()

small = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 2, **small})
nodes.add_node(num_cpus=2, num_gpus=1, object_store_memory=100 * 2**20)
nodes.wait_for_nodes()
os.environ["RAY_ADDRESS"] = nodes.address
signal.signal(signal.SIGTERM, handler := lambda *_: None)
needs = [Need("learner", gpus=1), Need("rollout worker", 3)]
with start_cluster(needs=needs) as cluster:
    assert signal.getsignal(signal.SIGTERM) is handler
    assert cluster.directory is None and cluster.address == nodes.address
    assert len(cluster.describe()["nodes"]) == 2, cluster.describe()
    assert cluster.gpus() == 1
    who = [cluster.stub(a, "actor").who() for need in needs for a in cluster.create(Toy, need=need)]
    assert cluster.gpus() == 0
    assert [device for _, device, _ in who] == ["cuda", "cpu", "cpu", "cpu"]
    assert len({node for _, _, node in who}) == 2
    pids = [pid for pid, *_ in who]
until = time.monotonic() + 20
while any(psutil.pid_exists(pid) for pid in pids):
    assert time.monotonic() < until
    time.sleep(0.1)
def free(cluster, cpus):
    until = time.monotonic() + 20
    while cluster.describe()["free"].get("CPU", 0) != cpus:
        assert time.monotonic() < until, cluster.describe()["free"]
        time.sleep(0.1)

class Picky(Toy):
    def __init__(self):
        assigned_device()

with start_cluster(needs=needs, patience_s=30) as cluster:  # it lives
    assert len(cluster.describe()["nodes"]) == 2, cluster.describe()
    try:
        cluster.create(Picky, need=Need("learner", gpus=1))
    except CannotPlace as unusable:
        print(unusable)
    free(cluster, 4)
    near = [cluster.create(Toy, need=Need("learner"), near=True)[0] for _ in range(4)]
    where = [cluster.stub(actor, "learner").who()[2] for actor in near]
    import ray
    here = ray.get_runtime_context().get_node_id()
    assert [node == here for node in where] == [True, True, False, False], where
    free(cluster, 0)
    cluster.release(near[1:3])  # one on each
    free(cluster, 2)
    cluster.patience_s = 3
    try:  # two are free, but no node has both
        cluster.create(Toy, need=Need("evaluator", cpus=2))
    except CannotPlace as waited:
        print(waited)
try:
    start_cluster(needs=[Need("learner", cpus=3), Need("rollout worker", 64)])
except CannotPlace as refused:
    print(refused)
nodes.shutdown()
started = time.monotonic()
try:
    start_cluster(nodes.address, needs=needs)
except CannotReach as unreachable:
    print(unreachable)
assert time.monotonic() - started < 20
"""


@pytest.mark.slow
def test_a_cluster_of_two_nodes_is_joined_and_left_alone(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", JOIN],
        env=environment(tmp_path, TEST_MARK=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    unusable, waited, refused, unreachable = done.stdout.splitlines()
    assert "Ray assigned a GPU on node 127.0.0.1, but PyTorch" in unusable
    assert "set learner.gpus=0 and rollout.worker_gpus=0" in unusable
    assert "after 3 s 1 of 1 still wait; free are 2 of 4 CPU" in waited
    assert "there is 4 CPU and 1 GPU on 2 nodes (127.0.0.1: 2 CPU" in refused
    assert "room for at most 0 learners of 3 CPU; room for at most 4 rollout workers of 1 CPU" in refused
    assert "could not join the Ray cluster at 127.0.0.1:" in unreachable
    assert eventually(lambda: not left(str(tmp_path))), left(str(tmp_path))
