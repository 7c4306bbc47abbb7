"""Clusters of a test's own, each in a process of its own: what they leave, what they refuse, two nodes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toys.processes import eventually, left

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.ray

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


def run(code: str, home: Path, *, timeout: float, check: bool) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own, marked by its home."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(home, ADVSEQ_TEST_MARK=str(home)),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=check,
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", ["success", "failure", "kill"])
def test_nothing_is_left_of_a_cluster_of_our_own(tmp_path: Path, how: str):
    mark = str(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", OWN, how],
        env=environment(tmp_path, ADVSEQ_TEST_MARK=mark),
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
    done = run(code, tmp_path, timeout=25, check=True)
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
    done = run(code, tmp_path, timeout=25, check=True)
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
    done = run(JOIN, tmp_path, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    unusable, waited, refused, unreachable = done.stdout.splitlines()
    assert "Ray assigned a GPU on node 127.0.0.1, but PyTorch" in unusable
    assert "set learner.gpus=0 and rollout.worker_gpus=0" in unusable
    assert "after 3 s 1 of 1 still wait; free are 2 of 4 CPU" in waited
    assert "there is 4 CPU and 1 GPU on 2 nodes (127.0.0.1: 2 CPU" in refused
    assert "room for at most 0 learners of 3 CPU; room for at most 4 rollout workers of 1 CPU" in refused
    assert "could not join the Ray cluster at 127.0.0.1:" in unreachable
    assert eventually(lambda: not left(str(tmp_path))), left(str(tmp_path))
