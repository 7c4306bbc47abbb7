"""A step again: equal to the bit, or what differs first is named. Nothing of the run is touched."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator import checkpoints
from orchestrator.errors import UserError
from orchestrator.recipe import load
from orchestrator.replay import replay
from orchestrator.run import Run
from orchestrator.trainer import Trainer
from toys.small_runs import UNITS, finish


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps: 2 epochs, 1 round, 3 adversarial steps; and a control."""
    folder = tmp_path_factory.mktemp("replay")
    settings = [*UNITS, f"run.directory={folder}", 'controls=["shuffled_reward"]', "checkpoint.keep=2"]
    finish(run := Run.create(load("seqgan", settings)))
    return run.directory.path


def content(run: Path) -> dict[str, str]:
    return {
        str(file.relative_to(run)): sha256(file.read_bytes()).hexdigest()
        for file in sorted(run.rglob("*"))
        if file.is_file()
    }


def test_every_step_is_the_same_again(run: Path):
    before = content(run)
    kept = checkpoints.steps(run / "checkpoints")
    for step in range(1, 7):
        found = replay(run, step)
        assert found.different is None
        assert found.checkpoint == max((one for one in kept if one < step), default=0)
        assert found.compared == step - found.checkpoint > 0
        assert found.elsewhere == ""
    assert replay(run, 6, "shuffled_reward").different is None
    assert content(run) == before


def test_what_differs_first_is_named(run: Path, monkeypatch: pytest.MonkeyPatch):
    descend = Trainer.descend

    def careless(self: Trainer, name: str, loss, metrics) -> None:
        descend(self, name, loss, metrics)
        if name == "discriminator" and self.state.step == 4:
            parameter = next(self.state.discriminator.parameters())
            parameter.data.view(-1)[0] *= 1 + 2.0**-23

    monkeypatch.setattr(Trainer, "descend", careless)
    found = replay(run, 5)
    assert found.different == 5
    assert found.difference == "the discriminator after the step differs, although all before it is the same"


def test_rollouts_that_differ_are_named(run: Path, tmp_path: Path):
    path = run / "fingerprints.jsonl"
    before = path.read_text()
    lines = [json.loads(line) for line in before.splitlines()]
    lines[3]["seen"]["rollouts 1"]["hashes"][2] = "0"
    try:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert replay(run, 4).difference == "rollouts 1: sequences 5 to 6 of 32 differ"
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("step", "control", "told"),
    [
        (7, None, "steps 1 to 6 were recorded"),
        (4, "constant_reward", "no trained control 'constant_reward'; it has shuffled_reward"),
        (4, "colder_start", "no trained control"),
    ],
)
def test_what_was_not_recorded_cannot_be_replayed(run: Path, step: int, control: str | None, told: str):
    with pytest.raises(UserError, match=told):
        replay(run, step, control)


def test_another_machine_is_said_to_be_one(run: Path, tmp_path: Path):
    file = run / "attempts/1/environment.json"
    before = file.read_text()
    try:
        file.write_text(json.dumps({**json.loads(before), "processor": "Z80"}))
        assert "computed with processor Z80" in replay(run, 1).elsewhere
    finally:
        file.write_text(before)


def test_a_choice_that_is_lost_is_named(tmp_path: Path):
    settings = [*UNITS, f"run.directory={tmp_path}", "scoring.precision=auto", "steps=1"]
    finish(run := Run.create(load("seqgan", settings)))
    assert replay(run.directory.path, 4).different is None
    (run.directory.path / "placement.json").unlink()
    with pytest.raises(UserError, match=r"scoring.precision=auto, and placement.json says None"):
        replay(run.directory.path, 4)


def test_a_step_whose_record_is_torn_is_not_counted(run: Path):
    path = run / "fingerprints.jsonl"
    before = path.read_text()
    lines = before.splitlines(keepends=True)
    try:
        path.write_text("".join([*lines[:1], "{torn\n", *lines[2:]]))
        found = replay(run, 3)
        assert (found.checkpoint, found.compared) in ((0, 2), (1, 1), (2, 1))
        assert found.different is None
    finally:
        path.write_text(before)
