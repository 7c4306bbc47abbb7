"""The summary of a run: every number in it can be found in the journal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.colder_start import TEMPERATURES
from orchestrator.journal import Journal
from orchestrator.recipe import load
from orchestrator.run import Run

SMALL = """
    data.oracle_vocabulary=20 data.oracle_length=6 data.oracle_hidden=8 data.sequences=40 data.held_out=40
    generator.embedding=8 generator.hidden=8 discriminator.filters=[[1,4],[2,4]] discriminator.embedding=6
    pretrain.generator_epochs=4 pretrain.discriminator_rounds=1 pretrain.discriminator_epochs=1 steps=4
    algorithm.completions=2 algorithm.d_steps=1 algorithm.d_epochs=1 batch_size=16 evaluation.samples=40
    evaluation.every=1 evaluation.pretrain_every=1 evaluation.diversity_samples=20 tracking.enabled=false
    controls=["constant_reward","colder_start"]
""".split()


def test_best_lowest_start_and_end_are_those_of_the_journal(tmp_path: Path):
    run = Run.create(load("seqgan", [*SMALL, f"run.directory={tmp_path}"]))
    for _ in run:
        pass
    path = run.directory.path
    summary = json.loads((path / "summary.json").read_text())
    records = list(Journal(path / "metrics.jsonl").read())
    nll = {r.step: r.metrics["eval/nll_oracle"] for r in records if "eval/nll_oracle" in r.metrics}
    adversarial = {step: value for step, value in nll.items() if step > 5}
    assert summary["best"]["step"] == min(adversarial, key=adversarial.__getitem__)
    assert summary["best"]["value"] == min(adversarial.values())
    assert summary["pretraining_lowest"]["eval/nll_oracle"] == min(
        nll[step] for step in range(1, 6) if step in nll
    )
    assert summary["baseline"]["eval/nll_oracle"] == nll[5]
    assert summary["metrics"]["eval/nll_oracle"] == nll[9]
    assert summary["metrics"]["eval/nll_oracle_floor"] > 0
    assert set(summary["controls"]) == {"constant_reward", "colder_start"}
    control = list(Journal(path / "controls/constant_reward/metrics.jsonl").read())
    assert summary["controls"]["constant_reward"]["eval/nll_oracle"] == control[-1].metrics["eval/nll_oracle"]
    assert [point["eval/nll_oracle"] for point in summary["curves"]["constant_reward"]] == [
        record.metrics["eval/nll_oracle"] for record in control
    ]
    assert summary["wall_s"] > 0
    # each number of the samples says how it was made, and real sequences stand beside them
    names = ("eval/bleu_5", "eval/self_bleu_5", "eval/js_1", "eval/reverse_lm_score", "eval/frechet")
    assert set(names) <= summary["signatures"].keys() & summary["metrics"].keys() & summary["real"].keys()
    assert "references:20,without-itself" in summary["signatures"]["eval/self_bleu_5"]
    assert summary["baseline"]["eval/bleu_5"] > 0  # the start, too, was measured by all of them
    ends = [point["eval/nll_oracle"] for point in summary["temperatures"]]
    assert [point["temperature"] for point in summary["temperatures"]] == list(TEMPERATURES)
    assert ends[0] == pytest.approx(summary["metrics"]["eval/nll_oracle"], abs=1e-6)


def test_the_matching_temperature_matches(tmp_path: Path):
    run = Run.create(
        load("seqgan", [*SMALL, f"run.directory={tmp_path}", "pretrain.generator_epochs=8", "steps=8"])
    )
    for _ in run:
        pass
    cold, end = run.summary["controls"]["colder_start"], run.summary["metrics"]
    curve = run.summary["curves"]["colder_start"]
    values = [point["eval/nll_oracle"] for point in curve]
    if min(values) <= end["eval/nll_oracle"] <= values[0]:
        # bisection ends between two temperatures that differ by less than a hundredth of the bracket
        assert abs(cold["eval/nll_oracle"] - end["eval/nll_oracle"]) < 0.05
    else:
        assert cold["temperature"] in (curve[0]["temperature"], curve[-1]["temperature"])
