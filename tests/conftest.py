"""What every test starts from: one thread, no network, no store but its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports the libraries that read them.
for name in (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_RUN_ID",
    "RAY_ADDRESS",
):
    os.environ.pop(name, None)  # a test must not write into somebody's store or cluster
os.environ.update(
    HF_HUB_OFFLINE="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    DO_NOT_TRACK="true",
    MPLBACKEND="Agg",
    TOKENIZERS_PARALLELISM="false",
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
