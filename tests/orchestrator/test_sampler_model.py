"""The logged model: it samples where this code is not installed, exactly as it does here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from algorithms.models.lstm import LSTMGenerator
from algorithms.types import Alphabet
from orchestrator.config import TrackingConfig
from orchestrator.sampling import Sampler, export
from orchestrator.tracking import Tracker, store_uri


def test_the_sampler_is_logged_once_and_samples_where_advseq_is_not_installed(tmp_path: Path) -> None:
    directory = tmp_path / "run-0"
    config, alphabet = LSTMGenerator.Config(), Alphabet(11)
    torch.manual_seed(0)
    data: Any = SimpleNamespace(codec=None, alphabet=alphabet, length=6)
    folder = export(config.build(alphabet, 6), config, data, directory / "model", turns=3)
    assert Sampler.load(folder).turns == 3
    store = store_uri(TrackingConfig(), tmp_path)
    tracker = Tracker.open(
        store,
        runs_root=tmp_path,
        experiment="oracle",
        run_name="run-0",
        run_directory=directory,
        params={},
        tags={},
    )
    path = list(sys.path)
    uri = tracker.log_sampler(folder)
    assert tracker.error is None
    assert uri is not None
    assert uri.startswith("models:/m-")
    assert tracker.log_sampler(folder) == uri
    assert sys.path == path
    assert tracker.log_sampler(directory / "nowhere") is None
    assert tracker.error is not None
    assert tracker.close("FINISHED")
    code = tmp_path / "mlartifacts" / "models" / uri.removeprefix("models:/") / "artifacts" / "code"
    assert sorted(child.name for child in code.iterdir()) == ["algorithms", "orchestrator", "workers"]
    assert not list(code.rglob("__pycache__"))
    assert sum(file.stat().st_size for file in code.rglob("*")) < 2_000_000
    program = """
import json, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
params = {"n": 3, "temperature": 0.5, "seed": 4}
print(json.dumps([model.predict(["", ""]), model.predict([""], params=params)]))
"""
    command = [sys.executable, "-c", program, store, uri]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True)
    sampler = Sampler.load(folder)
    assert json.loads(done.stdout) == [sampler.sample(2, 1.0, 0), sampler.sample(3, 0.5, 4)]
