"""What every shipped recipe promises, at sizes that take seconds: it trains, and resumes to the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.recipe import load, shipped
from orchestrator.run import Run
from toys.small_runs import finish

SMALL = """
    data.oracle_vocabulary=30 data.oracle_length=6 data.oracle_hidden=8 data.sequences=64 data.held_out=64
    pretrain.generator_epochs=1 pretrain.discriminator_rounds=1 pretrain.discriminator_epochs=1 batch_size=8
    evaluation.samples=64 evaluation.diversity_samples=32 evaluation.thorough=never checkpoint.every_seconds=0
    controls=none tracking.enabled=false rollout.workers=0 rollout.unit=4 rollout.sample_unit=32
    learner.threads=1
""".split()


def settings(name: str, folder: Path) -> list[str]:
    """The recipe with small networks of the same kinds."""
    config = load(name, [])
    small = [f"run.directory={folder}", "run.name=it", "steps=3", *SMALL]
    if config.generator.name == "residual_conv":
        small += ["generator.dim=8", "generator.latent=4", "pretrain.generator_epochs=0"]
    else:
        small += ["generator.embedding=8", "generator.hidden=8"]
    if "critic" in type(config.algorithm).model_fields:
        small += ["algorithm.critic.embedding=4", "algorithm.critic.hidden=4"]
    kinds = {
        "text_cnn": ["discriminator.embedding=6", "discriminator.filters=[[1,4],[2,4]]"],
        "bi_rnn": ["discriminator.embedding=6", "discriminator.hidden=4"],
        "residual_conv": ["discriminator.dim=8"],
        "hierarchical": ["discriminator.embedding=6", "discriminator.hidden=4"],
    }
    small += kinds[config.discriminator.name]
    if "completions" in type(config.algorithm).model_fields:
        small.append("algorithm.completions=2")
    if config.algorithm.d_steps:
        small += ["algorithm.d_steps=1", "algorithm.d_epochs=1"]
    if config.algorithm.d_sequences is not None:
        small.append("algorithm.d_sequences=16")
    if config.algorithm.d_batch is not None:
        small.append("algorithm.d_batch=8")
    if config.data.builtin == "python_topics":
        small += ["data.max_length=8", "generator.blocks=1", "discriminator.blocks=1"]
    if config.best.metric != "auto":
        small.append(f"best.metric={'eval/lm_score' if config.data.text else 'auto'}")
    return small


def result(run: Run) -> str:
    finish(run)
    summary = json.loads((run.directory.path / "summary.json").read_text())
    assert summary["status"] == "finished"
    return str(summary["parameters_sha256"])


def sizes() -> list[object]:
    """Every recipe; one that is small here as its quick form is comes later."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if f"{name}_quick" in shipped() else [])
        for name in shipped()
    ]


@pytest.mark.parametrize("name", sizes())
def test_it_trains_and_resumes_to_the_same_bits(tmp_path: Path, name: str):
    whole = result(Run.create(load(name, settings(name, tmp_path / "whole"))))
    run = Run.create(load(name, settings(name, tmp_path / "stopped")))
    for progress in run:
        if progress.stage == "adversarial" and progress.done == 2:
            run.stop()
    if run.summary["status"] == "finished":  # it has no adversarial stage
        return
    assert result(Run.resume(run.directory.path)) == whole


@pytest.mark.ray
@pytest.mark.parametrize(
    "name", ["maligan_full", "bgan_char", "wgan_gp_quick", "dialogue", "dialogue_partial_d"]
)
def test_rollout_workers_change_no_bit(cluster: object, tmp_path: Path, name: str):
    alone = result(Run.create(load(name, settings(name, tmp_path / "alone"))))
    workers = ["rollout.workers=2", "rollout.placement=workers"]
    assert result(Run.create(load(name, [*settings(name, tmp_path / "workers"), *workers]))) == alone
