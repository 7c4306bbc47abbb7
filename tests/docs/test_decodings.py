"""The table of runs and decodings, made of a real run, and as the page shows it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from orchestrator.recipe import load
from orchestrator.run import Run
from toys.small_runs import finish

DOCS = Path(__file__).parents[2] / "docs"


def test_a_row_for_each_run_and_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(DOCS))  # as for a script that is run
    decodings, comparisons = (importlib.import_module(name) for name in ("decodings", "result_comparisons"))
    corpus = tmp_path / "talk.txt"
    corpus.write_text("\n".join(f"hello {n} __eou__ good day {n} __eou__ fine {n}" for n in range(60)))
    settings = [
        f"data.path={corpus}", f"run.directory={tmp_path}", "tracking.enabled=false", "controls=none",
        "learner.threads=1", "pretrain.generator_epochs=2", "pretrain.discriminator_rounds=1", "steps=1",
        "data.min_length=1", "generator.hidden=16", "generator.embedding=8", "discriminator.hidden=8",
        "evaluation.samples=20", "evaluation.adversarial=false", "data.validation=0.2", "data.test=0.3",
        "run.name=talk",
    ]  # fmt: skip
    finish(Run.create(load("dialogue_quick", settings)))
    monkeypatch.setattr(decodings, "RESULTS", tmp_path / "results")
    run, small = tmp_path / "talk", ["--examples", "40", "--held_out", "40", "--epochs", "1"]
    for arguments in ([f"start={run}:3", "--all-ways"], [f"end={run}"]):
        monkeypatch.setattr(sys, "argv", ["decodings", "group", *arguments, *small])
        decodings.main()
    found = json.loads((tmp_path / "results/group/decodings.json").read_text())
    rows = [(row["run"], row["decoding"]) for row in found["rows"]]
    assert rows == [("start", way) for way in decodings.WAYS] + [("end", way) for way in decodings.FEW]
    assert found["trigram_perplexity"] > 1
    for row in found["rows"]:
        assert 0 <= row["eval/adversarial_success"] <= 1
        assert len(row["shown"]) == 3
    group = importlib.import_module("result_groups").Group(tmp_path / "results/group", [])
    lines = list(comparisons.decodings(group))
    assert len([line for line in lines if line.startswith("| ")]) == 1 + len(rows) + 1 + 2
    assert found["runs"]["start"]["adversarial_steps"] == 0
    assert found["runs"]["end"]["adversarial_steps"] == 1
    assert str(tmp_path) not in json.dumps(found)
    assert all(title in lines[0] for title in comparisons.SAID.values())
