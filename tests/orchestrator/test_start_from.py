"""Beginning with another run's networks, and never with another vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator.data import load_data
from orchestrator.errors import UserError
from orchestrator.recipe import load
from orchestrator.run import Run
from orchestrator.start_from import start_from
from orchestrator.state import TrainState

SMALL = """
    algorithm.name=mle controls=none tracking.enabled=false pretrain.generator_epochs=1 batch_size=16
    generator.embedding=4 generator.hidden=4 discriminator.filters=[[1,3]] discriminator.embedding=4
    evaluation.samples=10 evaluation.diversity_samples=5
""".split()


def corpus(path: Path, words: str) -> Path:
    lines = [f"{a} {b} {c}" for a in words.split() for b in words.split() for c in words.split()]
    path.write_text("\n".join(lines))
    return path


def trained(tmp_path: Path, text: Path, name: str, *changes: str) -> Path:
    place = (f"data.path={text}", f"run.directory={tmp_path}", f"run.name={name}")
    run = Run.create(load("mle", [*SMALL, *place, *changes]))
    for _ in run:
        pass
    return run.directory.path


def test_networks_are_taken_and_another_vocabulary_is_refused(tmp_path: Path):
    first = trained(tmp_path, corpus(tmp_path / "a.txt", "red blue old new"), "first")
    same = load("mle", [*SMALL, f"data.path={tmp_path / 'a.txt'}", f"init.run={first}"])
    data = load_data(same.data)
    state = TrainState.fresh(same, data.alphabet, data.length)
    before = state.generator.get_parameter("output").clone()
    assert start_from(same, state, data)
    assert not torch.equal(before, state.generator.get_parameter("output"))
    # as many words, but others: every id would mean another word
    other = load(
        "mle", [*SMALL, f"data.path={corpus(tmp_path / 'b.txt', 'sun moon sky sea')}", f"init.run={first}"]
    )
    with pytest.raises(UserError, match="vocabulary"):
        Run.create(other)


def test_an_earlier_checkpoint_is_taken_on_request(tmp_path: Path):
    text = corpus(tmp_path / "a.txt", "red blue old new")
    changes = ("pretrain.generator_epochs=2", "checkpoint.every_seconds=0")
    first = trained(tmp_path, text, "first", *changes)
    at = {}
    for chosen in ("last", "best", "1", "2"):
        config = load("mle", [*SMALL, f"data.path={text}", f"init.run={first}", f"init.checkpoint={chosen}"])
        data = load_data(config.data)
        state = TrainState.fresh(config, data.alphabet, data.length)
        assert start_from(config, state, data)
        at[chosen] = state.parameters_sha256()
    assert at["1"] != at["2"] == at["last"]
    assert at["best"] in (at["1"], at["2"])
    wrong = load("mle", [*SMALL, f"data.path={text}", f"init.run={first}", "init.checkpoint=7"])
    with pytest.raises(UserError, match=r"init\.checkpoint = 7: wanted best, last or one of the steps 1, 2"):
        Run.create(wrong)


def test_without_the_setting_nothing_happens():
    config = load("mle", SMALL)
    data = load_data(config.data.model_copy(update={"sequences": 5, "held_out": 5, "oracle_vocabulary": 9}))
    state = TrainState.fresh(config, data.alphabet, data.length)
    before = state.parameters_sha256()
    assert not start_from(config, state, data)
    assert state.parameters_sha256() == before
