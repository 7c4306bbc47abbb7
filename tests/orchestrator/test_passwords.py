"""Passwords stay with whoever typed them: in no message, no file of the run, and not in MLflow."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from orchestrator import passwords
from orchestrator.errors import UserError
from orchestrator.passwords import hidden, without_login
from orchestrator.recipe import elsewhere, load
from orchestrator.run import Run
from orchestrator.tracking import connect
from toys.small_runs import TINY, finish


def test_examples() -> None:
    assert doctest.testmod(passwords).failed == 0


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("postgresql+psycopg://ann:s3cret@db:5432/mlflow", "postgresql+psycopg://ann:***@db:5432/mlflow"),
        (
            "cannot use http://a:s3cret@h and http://b:s3cret@h",
            "cannot use http://a:***@h and http://b:***@h",
        ),
        ("http://h/?token=s3cret&x=1", "http://h/?token=***&x=1"),
    ],
)
def test_a_password_is_not_shown(address: str, shown: str) -> None:
    assert hidden(address) == shown
    assert "ann" not in without_login("http://ann:s3cret@h/x")
    assert without_login("http://h:5000/#/x@y") == "http://h:5000/#/x@y"


def test_a_password_in_a_recipe_is_refused_without_repeating_it() -> None:
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI") as refused:
        load("seqgan", ["tracking.uri=http://ann:s3cret@127.0.0.1:9"])
    assert "s3cret" not in str(refused.value)
    with pytest.raises(UserError) as refused:
        elsewhere(load("seqgan"), ["tracking.uri=http://ann:s3cret@127.0.0.1:9"])
    assert "s3cret" not in str(refused.value)


def test_a_password_in_the_environment_reaches_nothing_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}?password=s3cret")
    told: list[str] = []
    settings = [*TINY, f"run.directory={tmp_path / 'runs'}", "steps=1", "controls=none"]
    run = Run.create(load("seqgan", settings), say=told.append, warn=told.append)
    finish(run)
    assert any("opening MLflow" in line for line in told)
    assert "s3cret" not in "\n".join(told)
    for file in run.directory.path.rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes(), file
    told_to = connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = [one for one in told_to.search_experiments() if one.name != "Default"]
    (found,) = told_to.search_runs([experiment.experiment_id])
    assert "s3cret" not in str(found.data.params) + str(found.data.tags)
