"""Operations counted by hand, and the paper's sizes as they are known."""

from __future__ import annotations

import pytest

from orchestrator.bench import flops
from orchestrator.bench.flops import Sizes
from orchestrator.bench.work import reference

SMALL = Sizes(B=2, T=3, N=2, V=10, embedding=4, hidden=5, judged=3, filters=((1, 2), (2, 4)), negatives=7)


def test_counts_of_rows_and_tokens():
    assert SMALL.features == 6
    assert SMALL.completions == 2 * 2 * 2  # prefixes of length 1 and 2
    assert SMALL.completed_tokens == 2 * 2 * (2 + 1)
    assert SMALL.sampled_tokens == 6


def test_a_token_of_the_generator():
    gates = 2 * (4 + 5) * 20  # nine inputs, twenty gates
    assert flops.generator(SMALL, 1) == gates + 2 * 5 * 10 == 460
    assert flops.completions(SMALL) == (12 + 6) * 460
    assert flops.negatives(SMALL) == 7 * 3 * 460
    assert flops.generator_step(SMALL) == 3 * 6 * 460


def test_a_sequence_of_the_discriminator():
    width_1, width_2 = 3 * 2 * 1 * 3 * 2, 2 * 2 * 2 * 3 * 4  # windows, two operations, w, E, filters
    assert flops.convolutions(SMALL, 1) == width_1 + width_2 == 132
    assert flops.highway(SMALL, 1) == 2 * (2 * 6 * 6) + 2 * 6 == 156
    assert flops.scoring(SMALL) == (8 + 2) * (132 + 156)
    assert flops.discriminator_step(SMALL) == 3 * 2 * (132 + 156)


def test_windows_inside_a_shared_prefix_are_counted_once():
    # behind a prefix of 1: both widths have 2 windows; of 2: 1 window each
    beyond = (2 + 1) * 2 * 1 * 3 * 2 + (2 + 1) * 2 * 2 * 3 * 4
    assert flops.unshared_convolutions(SMALL) == 2 * 2 * beyond + 2 * 132


def test_the_papers_sizes():
    sizes = Sizes.of(reference(), 16)
    assert (sizes.B, sizes.T, sizes.N, sizes.V, sizes.features) == (64, 20, 16, 5000, 1720)
    assert sizes.completions == 19_456
    assert flops.completions(sizes) == pytest.approx(65.9e9, rel=0.01)
    assert flops.convolutions(sizes, sizes.completions) == pytest.approx(295e9, rel=0.01)
    assert flops.unshared_convolutions(sizes) == pytest.approx(200e9, rel=0.02)
    assert flops.highway(sizes, sizes.completions) == pytest.approx(230e9, rel=0.01)
    assert flops.discriminator_step(sizes) == pytest.approx(5.2e9, rel=0.01)


def test_filters_wider_than_the_sequences_are_left_out():
    sizes = Sizes.of(reference(changes=["data.oracle_length=15"]), 16)
    assert max(width for width, _ in sizes.filters) == 15
    assert sizes.features == 1560
