"""A cluster of two nodes, one of which is taken away without grace in the middle of a step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toys.small_runs import UNITS

ROOT = Path(__file__).parents[2]
SETTINGS = """
    pretrain.generator_epochs=1 steps=2 algorithm.completions=300 batch_size=64 rollout.placement=workers
    run.name=nodes
""".split()

# The learner goes to the node of its controller, which is the head here; the workers go where there is room.
SCRIPT = """
import os, sys, threading, time
os.environ.update(RAY_AUTH_MODE="token", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_SCHEDULER_EVENTS="0",
                  RAY_USAGE_STATS_ENABLED="0")
from ray.cluster_utils import Cluster
from orchestrator.recipe import load
from orchestrator.run import Run

calm = Run.create(load("seqgan", [*sys.argv[1:], "run.directory=calm"]))
for _ in calm:
    pass
quick = dict(health_check_initial_delay_ms=0, health_check_period_ms=200, health_check_timeout_ms=500,
             health_check_failure_threshold=3)
small = dict(object_store_memory=100 * 2**20)
cluster = Cluster(initialize_head=True, head_node_args=dict(
    num_cpus=2, include_dashboard=False, _system_config=quick, **small))
second = cluster.add_node(num_cpus=2, **small)
cluster.wait_for_nodes()
os.mkdir("elsewhere")
os.chdir("elsewhere")  # the nodes were started in another folder than the controller
try:
    run = Run.create(load("seqgan", [*sys.argv[1:], "run.directory=nodes", "rollout.workers=3",
                                     f"cluster.address={cluster.address}"]))
    removed = []
    def remove():
        time.sleep(0.2)
        started = time.monotonic()
        cluster.remove_node(second, allow_graceful=False)
        removed.append(len(cluster.list_all_nodes()))
    thread = threading.Thread(target=remove)
    for progress in run:
        if progress.step == 3:  # the next step is made of seconds of rollouts
            thread.start()
    thread.join()
    deaths = progress.metrics["fault/worker_deaths_total"]
    print(calm.summary["parameters_sha256"], run.summary["parameters_sha256"], removed[0], int(deaths))
finally:
    cluster.shutdown()
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_node_that_is_lost_in_the_middle_of_a_step_changes_nothing(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *UNITS, *SETTINGS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    calm, disturbed, nodes, deaths = done.stdout.split()[-4:]
    assert disturbed == calm
    assert nodes == "1"
    assert int(deaths) >= 1
    lines = (tmp_path / "elsewhere/nodes/nodes/events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines][-1] == "finished"
