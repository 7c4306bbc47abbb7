"""Samples of all evaluations as one table, as MLflow itself reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.recipe import load
from orchestrator.run import Run
from orchestrator.sample_table import write_sample_table
from orchestrator.tracking import connect
from toys.small_runs import TINY, finish


def test_a_row_for_each_sample_of_each_step(tmp_path: Path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "step_000010.txt").write_text("c\n")
    (tmp_path / "samples" / "step_000002.txt").write_text("a\n\u2028b\n\n")
    (tmp_path / "samples" / "notes.txt").write_text("not samples\n")
    path = write_sample_table(tmp_path)
    assert path == tmp_path / "samples.json"
    table = json.loads(path.read_text())
    assert table["columns"] == ["step", "number", "sample"]
    assert table["data"] == [[2, 1, "a"], [2, 2, "\u2028b"], [2, 3, ""], [10, 1, "c"]]


def test_a_damaged_file_is_shown_as_far_as_it_can_be_read(tmp_path: Path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "step_000001.txt").write_bytes(b"good\n\x8c\xe3bad\n")
    path = write_sample_table(tmp_path)
    assert path is not None
    assert [row[2] for row in json.loads(path.read_text())["data"]] == ["good", "\ufffd\ufffdbad"]


def test_without_samples_there_is_no_table(tmp_path: Path):
    assert write_sample_table(tmp_path) is None


@pytest.mark.filterwarnings("ignore:.*noload.*")
def test_mlflow_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    settings = [*TINY, f"run.directory={tmp_path}", f"tracking.uri={uri}", "steps=1", "controls=none"]
    run = Run.create(load("seqgan", settings))
    finish(run)
    client = connect(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (found,) = client.search_runs(experiments)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # a part of load_table asks the address of the process
    table = client.load_table(found.info.experiment_id, "samples.json", run_ids=[found.info.run_id])
    assert list(table.columns[:3]) == ["step", "number", "sample"]
    kept = json.loads((run.directory.path / "samples.json").read_text())["data"]
    assert table["sample"].tolist() == [row[2] for row in kept]
    assert len(kept) > 10
