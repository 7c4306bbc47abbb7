"""The baseline is timed on the same work, and what takes long once."""

from __future__ import annotations

import pytest

from orchestrator.bench import serial
from orchestrator.bench.baseline import Baseline


def test_everything_has_a_time(work):
    said: list[str] = []
    baseline = Baseline(work, said.append)
    for seconds in (
        baseline.completions(),
        baseline.scoring(),
        baseline.negatives(),
    ):
        assert seconds > 0
    assert all("serial baseline" in line for line in said)


def test_credits_are_computed_once_and_whole(work, monkeypatch):
    asked: list[tuple[int, int]] = []
    complete = serial.complete

    def counted(G, tokens, N, *rest):
        asked.append((len(tokens), N))
        return complete(G, tokens, N, *rest)

    monkeypatch.setattr(serial, "complete", counted)
    baseline = Baseline(work, lambda _: None)
    assert baseline.completions() == baseline.completions()
    assert baseline.scoring() == baseline.scoring()
    assert asked == [(2, 1), (work.sizes.B, work.sizes.N)]  # a little to warm up, then all


def test_the_learners_weights_stay(work):
    before = work.state.parameters_sha256()
    baseline = Baseline(work, lambda _: None)
    for step in (baseline.generator_step(), baseline.likelihood_step(), baseline.discriminator_step()):
        step()
    assert work.state.parameters_sha256() == before


def test_a_phase_without_a_generator_of_that_kind_is_refused(work, monkeypatch):
    monkeypatch.setattr(work.state, "generator", work.state.discriminator)
    with pytest.raises(AssertionError):
        Baseline(work, lambda _: None).likelihood_step()
