"""What MLflow is told of a run, and that nothing is lost while its store is away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.journal import Journal
from orchestrator.recipe import load
from orchestrator.run import Run
from orchestrator.tracking import TrackingUnavailable, connect

SMALL = """
    data.oracle_vocabulary=20 data.oracle_length=6 data.oracle_hidden=8 data.sequences=40 data.held_out=40
    generator.embedding=8 generator.hidden=8 discriminator.filters=[[1,4],[2,4]] discriminator.embedding=6
    pretrain.generator_epochs=2 pretrain.discriminator_rounds=1 pretrain.discriminator_epochs=1 steps=2
    algorithm.completions=2 algorithm.d_steps=1 algorithm.d_epochs=1 batch_size=16 evaluation.samples=40
    evaluation.diversity_samples=20 controls=["constant_reward","shuffled_reward"] run.name=one
""".split()
pytestmark = pytest.mark.filterwarnings("ignore:.*noload.*")  # SQLAlchemy about MLflow's queries


def finish(run: Run) -> Run:
    for _ in run:
        pass
    return run


def runs_in(uri: str) -> dict[str, object]:
    client = connect(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.info.run_name: run for run in client.search_runs(experiments)}


def test_a_store_that_was_away_gets_everything_from_resume(tmp_path: Path):
    blocked = tmp_path / "store"
    blocked.write_text("a file where a folder should be")
    uri = f"sqlite:///{blocked}/mlflow.db"
    warnings: list[str] = []
    config = load("seqgan", [*SMALL, f"run.directory={tmp_path / 'runs'}", f"tracking.uri={uri}"])
    finish(Run.create(config, warn=warnings.append))
    assert any("cannot be used" in warning for warning in warnings)
    path = tmp_path / "runs" / "one"
    assert json.loads((path / "summary.json").read_text())["status"] == "finished"

    blocked.unlink()
    blocked.mkdir()
    finish(Run.resume(path))
    held = runs_in(uri)
    assert set(held) == {"one", "one/constant_reward", "one/shuffled_reward"}
    assert {run.info.status for run in held.values()} == {"FINISHED"}
    client = connect(uri)
    for name, folder in {"one": path, "one/shuffled_reward": path / "controls/shuffled_reward"}.items():
        for record in Journal(folder / "metrics.jsonl").read():
            for metric, value in record.metrics.items():
                points = [
                    p
                    for p in client.get_metric_history(held[name].info.run_id, metric)
                    if p.step == record.step
                ]
                assert [p.value for p in points] == [pytest.approx(value)]
    with pytest.raises(UserError, match="nothing to resume"):
        Run.resume(path)


def test_a_required_store_that_cannot_be_reached_ends_the_run(tmp_path: Path):
    (tmp_path / "store").write_text("")
    settings = [
        f"run.directory={tmp_path / 'runs'}",
        f"tracking.uri=sqlite:///{tmp_path}/store/m.db",
        "tracking.required=true",
    ]
    with pytest.raises(TrackingUnavailable):
        finish(Run.create(load("seqgan", [*SMALL, *settings])))


def test_a_stopped_run_is_killed_in_mlflow_and_its_resumption_is_the_same_run(tmp_path: Path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run = Run.create(load("seqgan", [*SMALL, f"run.directory={tmp_path / 'runs'}", f"tracking.uri={uri}"]))
    for progress in run:
        if progress.branch == "shuffled_reward":
            run.stop()
    held = runs_in(uri)
    assert held["one"].info.status == "KILLED"
    assert held["one/shuffled_reward"].info.status == "KILLED"
    assert held["one/constant_reward"].info.status == "FINISHED"
    finish(Run.resume(run.directory.path))
    again = runs_in(uri)
    assert {name: run.info.run_id for name, run in again.items()} == {
        n: r.info.run_id for n, r in held.items()
    }
    assert {run.info.status for run in again.values()} == {"FINISHED"}
