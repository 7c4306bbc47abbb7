"""A whole run: what it leaves behind, that it can be stopped anywhere, and that resuming changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch

from algorithms.types import Loss
from orchestrator import checkpoints
from orchestrator.errors import GuardError, UserError
from orchestrator.journal import Journal
from orchestrator.recipe import load
from orchestrator.run import Run
from orchestrator.trainer import Trainer
from toys.small_runs import finish

ROOT = Path(__file__).parents[2]
TINY = """
    data.oracle_vocabulary=20 data.oracle_length=6 data.oracle_hidden=8 data.sequences=64
    data.held_out=64 generator.embedding=8 generator.hidden=8 discriminator.filters=[[1,4],[2,4]]
    discriminator.embedding=6 pretrain.generator_epochs=3 pretrain.discriminator_rounds=2
    pretrain.discriminator_epochs=1 steps=3 algorithm.completions=2 algorithm.d_steps=2
    algorithm.d_epochs=1 batch_size=16 evaluation.samples=64 evaluation.every=2
    evaluation.pretrain_every=2 evaluation.diversity_samples=32 rollout.unit=4
    checkpoint.every_seconds=0
""".split()


def tiny(tmp_path: Path, *more: str):
    return load("seqgan", [*TINY, f"run.directory={tmp_path}", "tracking.enabled=false", *more])


OF_PROCESSES = ("time/", "perf/", "rollout/", "weights/", "staleness/", "fault/")
"""Metrics of clocks and processes, which a resumed run counts from their own beginning."""


def values(journal: Path) -> list[tuple[int, str, dict[str, float]]]:
    """Everything that a journal says of training itself."""
    return [
        (
            record.step,
            record.stage,
            {k: v for k, v in record.metrics.items() if not k.startswith(OF_PROCESSES)},
        )
        for record in Journal(journal).read()
    ]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = Run.create(tiny(tmp_path_factory.mktemp("calm")))
    finish(run)
    return run.directory.path


def test_what_a_run_leaves_behind(calm: Path):
    summary = json.loads((calm / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["steps"] == 3 + 2 + 3
    assert set(summary["controls"]) == {
        "constant_reward",
        "shuffled_reward",
        "untrained_discriminator",
        "colder_start",
    }
    for name in (
        "config.json",
        "data.json",
        "events.jsonl",
        "model/model.json",
        "model/generator.safetensors",
    ):
        assert (calm / name).is_file(), name
    assert [record[0] for record in values(calm / "metrics.jsonl")] == list(range(1, 9))
    best = summary["best"]["step"]
    assert checkpoints.load(calm / "checkpoints", best).step == best
    assert checkpoints.load(calm / "checkpoints", 5).step == 5  # where the adversarial stage began
    assert (calm / "samples" / "step_000008.txt").read_text().count("\n") == 10
    assert (calm / "attempts" / "1" / "environment.json").is_file()


def test_the_controls_start_where_the_run_did_and_do_what_they_say(calm: Path):
    main = {step: metrics for step, _, metrics in values(calm / "metrics.jsonl")}
    for name in ("constant_reward", "shuffled_reward", "untrained_discriminator"):
        records = values(calm / "controls" / name / "metrics.jsonl")
        assert [record[0] for record in records] == [5, 6, 7, 8]
        assert records[0][2]["eval/nll_oracle"] == main[5]["eval/nll_oracle"]
    constant = values(calm / "controls" / "constant_reward" / "metrics.jsonl")
    assert {metrics["reward/mean"] for _, stage, metrics in constant if stage == "adversarial"} == {0.5}
    assert "loss/discriminator" not in constant[-1][2]
    shuffled = values(calm / "controls" / "shuffled_reward" / "metrics.jsonl")
    # at the first step the same sentences have the same rewards, in another order
    assert shuffled[1][2]["reward/mean"] == pytest.approx(main[6]["reward/mean"], abs=1e-6)
    assert shuffled[1][2]["loss/generator"] != main[6]["loss/generator"]
    curve = json.loads((calm / "controls" / "colder_start" / "summary.json").read_text())["curve"]
    assert curve[0]["eval/nll_oracle"] == pytest.approx(main[5]["eval/nll_oracle"], abs=1e-5)
    assert curve[-1]["eval/entropy"] < curve[0]["eval/entropy"]


@pytest.mark.parametrize("after", range(1, 8))
def test_a_run_that_is_left_and_resumed_ends_the_same(calm: Path, tmp_path: Path, after: int):
    run = Run.create(tiny(tmp_path, "controls=none"))
    for progress in run:
        if progress.step == after:
            break
    del run, progress  # closes the generator
    (directory,) = tmp_path.iterdir()
    assert json.loads((directory / "summary.json").read_text())["status"] == "stopped"
    resumed = finish(Run.resume(directory))
    assert (
        resumed["parameters_sha256"] == json.loads((calm / "summary.json").read_text())["parameters_sha256"]
    )
    assert values(directory / "metrics.jsonl") == values(calm / "metrics.jsonl")


CHILD = """
import os, signal, sys
from pathlib import Path
from orchestrator.recipe import load
from orchestrator.run import Run
from orchestrator.trainer import Trainer
stage, done, overrides = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
descend = Trainer.descend
def dying(self, *arguments):
    descend(self, *arguments)
    if (self.branch or self.state.stage_name) == stage and self.state.done == done:
        os.kill(os.getpid(), signal.SIGKILL)   # in the middle of a unit, after a minibatch
Trainer.descend = dying
for _ in Run.create(load("seqgan", overrides)):
    pass
"""


@pytest.mark.parametrize(
    ("where", "done"),
    [pytest.param("pretrain_generator", 0, marks=pytest.mark.slow), ("pretrain_generator", 2),
     ("pretrain_discriminator", 1), pytest.param("adversarial", 0, marks=pytest.mark.slow),
     ("adversarial", 2), ("shuffled_reward", 1)],
)  # fmt: skip
def test_a_killed_run_resumes_to_the_same_bits(calm: Path, tmp_path: Path, where: str, done: int):
    arguments = [*TINY, f"run.directory={tmp_path}", "tracking.enabled=false"]
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, where, str(done), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    (directory,) = tmp_path.iterdir()
    assert not (directory / "summary.json").exists()
    resumed, undisturbed = finish(Run.resume(directory)), json.loads((calm / "summary.json").read_text())
    assert resumed["parameters_sha256"] == undisturbed["parameters_sha256"]
    assert values(directory / "metrics.jsonl") == values(calm / "metrics.jsonl")
    for name in ("constant_reward", "shuffled_reward", "untrained_discriminator"):
        assert values(directory / "controls" / name / "metrics.jsonl") == values(
            calm / "controls" / name / "metrics.jsonl"
        )


def test_a_stopped_run_commits_and_resumes(calm: Path, tmp_path: Path):
    run = Run.create(tiny(tmp_path, "checkpoint.every_seconds=1000"))
    for progress in run:
        if progress.step == 4:
            run.stop()
    assert run.summary["status"] == "stopped"
    assert checkpoints.steps(run.directory.checkpoints)[-1] == 4
    assert (
        finish(Run.resume(run.directory.path))["parameters_sha256"]
        == json.loads((calm / "summary.json").read_text())["parameters_sha256"]
    )


def test_minutes_are_a_limit(tmp_path: Path):
    run = Run.create(tiny(tmp_path, "run.max_minutes=1e-9"))
    assert finish(run)["status"] == "stopped"
    assert finish(Run.resume(run.directory.path))["status"] == "stopped"


def test_a_damaged_newest_checkpoint_costs_a_step_and_nothing_else(calm: Path, tmp_path: Path):
    run = Run.create(tiny(tmp_path, "controls=none"))
    for progress in run:
        if progress.step == 6:
            break
    del run, progress
    (directory,) = tmp_path.iterdir()
    newest = checkpoints.folder(directory / "checkpoints", checkpoints.steps(directory / "checkpoints")[-1])
    (newest / "tensors.safetensors").write_bytes(b"torn")
    warnings: list[str] = []
    resumed = finish(Run.resume(directory, warn=warnings.append))
    assert any("tensors.safetensors" in warning for warning in warnings)
    assert (
        resumed["parameters_sha256"] == json.loads((calm / "summary.json").read_text())["parameters_sha256"]
    )


def test_a_finished_run_is_not_resumed(calm: Path):
    with pytest.raises(UserError, match="has finished"):
        Run.resume(calm)


def test_two_processes_do_not_share_a_run(tmp_path: Path):
    run = Run.create(tiny(tmp_path))
    with pytest.raises(UserError, match="another process"):
        Run.resume(run.directory.path)
    run.directory.release()


def test_changed_data_is_noticed(tmp_path: Path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"line {number} of the corpus\n" for number in range(60)))
    run = Run.create(tiny(tmp_path / "runs", f"data.path={corpus}"))
    for progress in run:
        if progress.step == 2:
            run.stop()
    corpus.write_text("".join(f"line {number} of another corpus\n" for number in range(60)))
    with pytest.raises(UserError, match="began with"):
        finish(Run.resume(run.directory.path))


def test_a_run_starts_from_anothers_networks(calm: Path, tmp_path: Path):
    changes = ["pretrain.generator_epochs=0", "pretrain.discriminator_rounds=0", "steps=1", "controls=none"]
    run = Run.create(tiny(tmp_path, f"init.run={calm}", *changes))
    started = finish(run)["baseline"]["eval/nll_oracle"]
    assert started == json.loads((calm / "summary.json").read_text())["metrics"]["eval/nll_oracle"]


def test_divergence_ends_the_run_and_keeps_what_was_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    descend = Trainer.descend

    def poisoned(self: Trainer, name: str, loss: Loss, metrics: object) -> None:
        factor = torch.nan if self.state.step == 2 else 1.0
        descend(self, name, Loss(loss.value * factor), metrics)

    monkeypatch.setattr(Trainer, "descend", poisoned)
    run = Run.create(tiny(tmp_path))
    with pytest.raises(GuardError, match="diverged"):
        finish(run)
    assert json.loads((run.directory.path / "summary.json").read_text())["status"] == "diverged"
    assert checkpoints.steps(run.directory.checkpoints)[-1] == 2


def test_a_mistake_leaves_no_directory_behind(tmp_path: Path):
    with pytest.raises(UserError, match="missing"):
        Run.create(tiny(tmp_path / "runs", f"data.path={tmp_path / 'missing.txt'}", "run.name=named"))
    assert not (tmp_path / "runs" / "named").exists()


def test_a_run_without_any_whole_checkpoint_is_not_begun_again(tmp_path: Path):
    run = Run.create(tiny(tmp_path, "controls=none"))
    for progress in run:
        if progress.step == 3:
            break
    del run, progress
    (directory,) = tmp_path.iterdir()
    for step in checkpoints.steps(directory / "checkpoints"):
        (checkpoints.folder(directory / "checkpoints", step) / "manifest.json").write_text("{}")
    journal = (directory / "metrics.jsonl").read_text()
    with pytest.raises(UserError, match="can be used"):
        finish(Run.resume(directory))
    assert (directory / "metrics.jsonl").read_text() == journal


def test_a_run_that_its_consumer_left_has_a_summary(tmp_path: Path):
    run = Run.create(tiny(tmp_path))
    with closing(iter(run)) as training:
        for progress in training:
            if progress.step == 7:
                break
    assert run.summary["status"] == "stopped"
    assert "loss/generator" in run.summary["metrics"]


def test_a_metric_that_is_not_measured_cannot_choose_the_best(tmp_path: Path):
    with pytest.raises(UserError, match="did you mean eval/nll_oracle"):
        finish(Run.create(tiny(tmp_path, "best.metric=eval/nll_orcle")))


def test_pg_bleu_trains_without_a_discriminator(tmp_path: Path):
    settings = [setting for setting in TINY if "d_steps" not in setting]
    config = load(
        "seqgan", [*settings, "algorithm.name=pg_bleu", f"run.directory={tmp_path}", "tracking.enabled=false"]
    )
    summary = finish(Run.create(config))
    assert "untrained_discriminator" not in summary["controls"]
    assert summary["steps"] == 3 + 3
    assert not any(name.startswith("d/") for name in summary["metrics"])
