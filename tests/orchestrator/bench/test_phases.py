"""Rows of the table: their names, what each says, and what is left out with a reason."""

from __future__ import annotations

import dataclasses
import json

import pytest

from orchestrator.bench import phases
from orchestrator.bench.machine import Machine, Rate
from orchestrator.bench.names import NAMES
from orchestrator.bench.phases import Row, measure

MACHINE = Machine("cpu", "one core", "none", 1, "2", "0", Rate(1e9, 8), Rate(1e7, 8))
WITHOUT_BASELINE = {"weights_publish", "weights_load", "checkpoint"}


@pytest.fixture(scope="module")
def rows(work) -> dict[str, Row]:
    found = measure(work, MACHINE)
    assert [row.name for row in found] == list(NAMES)
    return {row.name: row for row in found}


def test_every_phase_has_what_can_be_said_of_it(rows):
    for name in set(NAMES) - {
        "credits_bf16",
        "discriminator_step_bf16",
        "scoring",
    }:  # tiny scores are lost in the noise
        row = rows[name]
        assert row.seconds > 0
        assert (row.serial_seconds is None) == (name in WITHOUT_BASELINE)
        assert (row.flops is None) == (name in WITHOUT_BASELINE)
        assert row.peak_bytes > 0 or name == "checkpoint"
        if row.flops is not None:
            assert row.fraction_of_limit == pytest.approx(row.flops / 1e9 / row.seconds)
            assert row.sequences_per_s > 0
    assert rows["checkpoint"].note.endswith("in a temporary folder")
    json.dumps([row.as_dict() for row in rows.values()])


def test_credits_are_completions_and_scores(rows):
    whole, parts = rows["credits_fp32"], [rows["completions"], rows["scoring"]]
    assert whole.flops == sum(part.flops for part in parts)
    serial = [part.serial_seconds for part in parts if part.serial_seconds is not None]
    assert whole.serial_seconds >= sum(serial)
    assert "counted once" in whole.note


def test_bfloat16_is_left_out_with_a_reason(rows):
    for name in ("credits_bf16", "discriminator_step_bf16"):
        assert rows[name].seconds is None
        assert rows[name].note.startswith("not measured")


def test_bfloat16_where_it_is_fast(work, monkeypatch):
    fast = dataclasses.replace(MACHINE, bf16=Rate(4e9, 8))
    (row,) = measure(work, fast, ["credits_bf16"])
    assert row.seconds > 0
    completing, scoring = phases.flops.completions(work.sizes), phases.flops.scoring(work.sizes)
    at_limit = completing / 1e9 + scoring / 4e9
    assert row.fraction_of_limit == pytest.approx(at_limit / row.seconds)
    (row,) = measure(work, fast, ["discriminator_step_bf16"])
    assert row.serial_seconds > 0
    at_limit = phases.flops.discriminator_step(work.sizes) / 4e9
    assert row.fraction_of_limit == pytest.approx(at_limit / row.seconds)
    assert work.trainer.learning == "fp32"


def test_bfloat16_where_it_is_slow(work, monkeypatch):
    (row,) = measure(work, MACHINE, ["credits_bf16"])
    assert row.seconds is None
    assert "0.01 GFLOP/s, in float32 at 1" in row.note


def test_scores_that_are_lost_in_the_noise_are_said_to_be(work, monkeypatch):
    monkeypatch.setattr(phases, "seconds", lambda action, device: 1e9)
    (row,) = measure(work, MACHINE, ["scoring"])
    assert row.seconds is None
    assert "too short" in row.note
