"""The command line as a user meets it: what works, what is wrong, and the exit code of each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.tracking import connect
from toys.small_runs import TINY

ROOT = Path(__file__).parents[2]


def advseq(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A finished run with its MLflow store, made through the command line."""
    folder = tmp_path_factory.mktemp("trained")
    result = advseq("train", "seqgan", *TINY, "steps=2", "run.name=one", "--json", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout)


def test_train_prints_one_document_with_json(trained):
    folder, summary = trained
    assert summary["status"] == "finished"
    assert (
        json.loads((folder / "runs/one/summary.json").read_text())["parameters_sha256"]
        == summary["parameters_sha256"]
    )
    assert (folder / "runs/one/learning_curve.png").stat().st_size > 5_000


@pytest.mark.filterwarnings("ignore:.*noload.*")  # SQLAlchemy about MLflow's queries
def test_mlflow_has_the_run_and_its_controls(trained):
    folder, summary = trained
    client = connect(f"sqlite:///{folder}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("oracle-v20-t6-seed0")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["algorithm.completions"] == "2"
    assert parent.data.tags["algorithm"] == "seqgan"
    assert parent.data.metrics["eval/nll_oracle"] == pytest.approx(summary["metrics"]["eval/nll_oracle"])
    told = {name: text for name, text in parent.data.tags.items() if name.startswith("signature.")}
    assert set(told.values()) == set(summary["signatures"].values())
    assert told["signature.eval/bleu_2"] == summary["signatures"]["eval/bleu_2"]
    assert {run.data.tags["control"] for run in runs if run is not parent} == {
        "constant_reward", "shuffled_reward", "untrained_discriminator"
    }  # fmt: skip
    history = client.get_metric_history(parent.info.run_id, "time/step")
    assert sorted(point.step for point in history) == [1, 2, 3, 4, 5]
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"summary.json", "config.json", "figures", "samples"} <= names
    assert parent.inputs.dataset_inputs[0].dataset.name == "oracle-v20-t6-seed0"


def test_the_logged_model_samples_what_the_run_samples(trained):
    folder, _ = trained
    from_run = advseq("sample", "runs/one", "-n", "3", "--json", cwd=folder)
    model = json.loads((folder / "runs/one/tracking.json").read_text())["model"]
    from_mlflow = advseq("sample", model, "-n", "3", "--json", cwd=folder)
    assert from_mlflow.returncode == 0, from_mlflow.stderr
    assert json.loads(from_run.stdout)["lines"] == json.loads(from_mlflow.stdout)["lines"]


def test_evaluate_repeats_what_the_run_measured(trained):
    folder, summary = trained
    result = advseq("evaluate", "runs/one", "--checkpoint", "last", "--json", cwd=folder)
    measured = json.loads(result.stdout)
    assert measured["checkpoint"] == 5
    for name in ("eval/nll_oracle", "eval/nll_test", "eval/unique_rate"):
        assert measured["metrics"][name] == pytest.approx(summary["metrics"][name], abs=1e-5)
    colder = json.loads(advseq("evaluate", "runs/one", "--temperature", "0.5", "--json", cwd=folder).stdout)
    assert colder["metrics"]["eval/entropy"] < measured["metrics"]["eval/entropy"]


def test_sample_obeys_number_seed_and_prefix(trained):
    folder, _ = trained
    lines = advseq("sample", "runs/one", "-n", "4", "--prefix", "7 3", cwd=folder).stdout.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("7 3 ") for line in lines)
    assert lines == advseq("sample", "runs/one", "-n", "4", "--prefix", "7 3", cwd=folder).stdout.splitlines()
    other = advseq(
        "sample", "runs/one", "-n", "4", "--prefix", "7 3", "--seed", "1", cwd=folder
    ).stdout.splitlines()
    assert lines != other


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "no_such_recipe"], "no recipe 'no_such_recipe'"),
        (["train", "seqgan_quik"], "did you mean 'seqgan_quick'"),
        (["train", "seqgan_quick", "no.such.key=1"], "unknown key 'no.such.key'"),
        (["train", "seqgan_quick", "batch_size=0"], "batch_size = 0"),
        (["train", "seqgan_quick", "data.path=missing.txt"], "missing.txt"),
        (["train", "seqgan_quick", "data.path=empty.txt"], "empty.txt"),
        (["train", "seqgan_quick", "data.oracle=missing.npz"], "missing.npz"),
        (["train", "seqgan_quick", "--run-dir", "/proc/advseq"], "cannot make a run directory"),
        (["train", "seqgan_quick", "--run-dir", "."], "not empty"),
        (["train", "seqgan", "discriminator.filters=[[90,4]]", "--dry-run"], "at least one pair"),
        (["resume", "missing"], "missing is no run directory"),
        (["evaluate", "missing"], "missing is no run directory"),
        (["sample", "missing"], "missing is no run directory"),
        (["sample", "models:/m-none"], "models:/m-none"),
        (["recipes", "missing"], "no recipe 'missing'"),
        (["ui", "--runs", "nowhere"], "nowhere"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(tmp_path: Path, arguments: list[str], words: str):
    (tmp_path / "empty.txt").write_text("\n\n")
    result = advseq(*arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert words in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments", [["trian"], ["train"], ["sample", "x", "-n", "0"], ["train", "seqgan", "--no-such"]]
)
def test_a_wrong_call_is_explained(tmp_path: Path, arguments: list[str]):
    result = advseq(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_dry_run_says_what_cannot_be_placed(tmp_path: Path, workers: str):
    result = advseq("train", "seqgan", "learner.gpus=64", "--workers", workers, "--dry-run", cwd=tmp_path)
    assert result.returncode == 3
    assert "64" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_dry_run_writes_nothing(tmp_path: Path):
    result = advseq("train", "seqgan", "--dry-run", "--json", cwd=tmp_path)
    planned = json.loads(result.stdout)
    assert planned["completions_per_step"] == 64 * 16 * 19
    assert planned["discriminator_minibatches_per_step"] == 313 * 3 * 5
    assert list(tmp_path.iterdir()) == []
    assert "nothing was trained" in advseq("train", "seqgan", "--dry-run", cwd=tmp_path).stdout


def test_recipes_and_doctor(tmp_path: Path):
    assert "seqgan_quick" in advseq("recipes", cwd=tmp_path).stdout
    assert json.loads(advseq("recipes", "mle", "--json", cwd=tmp_path).stdout)["algorithm.name"] == "mle"
    doctor = advseq("doctor", "--json", cwd=tmp_path)
    assert {check["name"] for check in json.loads(doctor.stdout)["checks"]}
    assert doctor.returncode in (0, 2)


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_signal_commits_and_the_run_resumes(tmp_path: Path, number: int, code: int):
    settings = ["steps=60", "evaluation.every=60", "tracking.enabled=false", "controls=none", "run.name=r"]
    command = [sys.executable, "-m", "orchestrator", "train", "seqgan", *TINY, *settings]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    journal = tmp_path / "runs/r/metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 5) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    assert json.loads((tmp_path / "runs/r/summary.json").read_text())["status"] == "stopped"
    result = advseq("resume", "runs/r", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["steps"] == 63


def test_a_full_disk_is_code_75_and_resumable(tmp_path: Path):
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000));"
        "sys.argv[0] = 'advseq'; from orchestrator.cli import main; main()"
    )
    arguments = ["train", "seqgan", *TINY, "steps=2", "run.name=r", "tracking.enabled=false", "controls=none"]
    result = subprocess.run(
        [sys.executable, "-c", limited, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 75, result.stderr
    assert "make room" in result.stderr
    assert "Traceback" not in result.stderr
    assert advseq("resume", "runs/r", "--json", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("count", [2, 20_000], ids=["seen only at the end", "seen while writing"])
def test_a_reader_that_has_seen_enough_gets_no_message(trained: tuple[Path, dict], count: int):
    folder, _ = trained
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as output:
        result = subprocess.run(
            [sys.executable, "-m", "orchestrator", "sample", "runs/one", "-n", str(count)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "")
