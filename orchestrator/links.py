"""Addresses of pages in MLflow's UI.

Every one says ``workflowType=machine_learning``: without it MLflow 3 opens a view of language-model traces,
in which a training run shows nothing.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence

_TYPE = "workflowType=machine_learning"


def experiments_url(base: str) -> str:
    """The list of all experiments of the server at ``base``."""
    return f"{base.rstrip('/')}/#/experiments?{_TYPE}"


def experiment_url(base: str, experiment_id: str) -> str:
    """The charts of all runs of an experiment."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{_TYPE}&compareRunsMode=CHART"


def run_url(base: str, experiment_id: str, run_id: str) -> str:
    """The charts of one run."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}/model-metrics?{_TYPE}"


def compare_url(base: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Runs of one experiment side by side: what differs in their params, and their last metrics."""
    runs = urllib.parse.quote(json.dumps(list(run_ids), separators=(",", ":")))
    experiments = urllib.parse.quote(json.dumps([experiment_id]))
    return f"{base.rstrip('/')}/#/compare-runs?runs={runs}&experiments={experiments}&{_TYPE}"
