"""What every test starts from: one thread, no network, no store but its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports the libraries that read them.
for name in (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_RUN_ID",
    "RAY_ADDRESS",
    "RAY_AUTH_TOKEN_PATH",
):
    os.environ.pop(name, None)  # a test must not write into somebody's store or cluster
os.environ.update(
    HF_HUB_OFFLINE="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    DO_NOT_TRACK="true",
    MPLBACKEND="Agg",
    TOKENIZERS_PARALLELISM="false",
    RAY_AUTH_MODE="token",
    RAY_AUTH_TOKEN=secrets.token_hex(16),  # none is written into the home folder
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # loopback only
    RAY_SCHEDULER_EVENTS="0",
    RAY_USAGE_STATS_ENABLED="0",
)

import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

torch.set_num_threads(1)  # sums of floats depend on the number of threads
settings.register_profile("deterministic", deadline=None, derandomize=True, database=None)
settings.load_profile("deterministic")


@pytest.fixture
def runs_root(tmp_path: Path) -> Path:
    """An empty folder for the runs of one test."""
    root = tmp_path / "runs"
    root.mkdir()
    return root


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """One Ray cluster of 8 slots, started by the first test that asks for it and shared by all that do, in
    each process that runs tests."""
    from workers.cluster import start_cluster
    from workers.placement import Need

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # actors find the toys
        started = start_cluster("local", needs=[Need("actor of a test", 8)], patience_s=60)
    with started:
        yield started
