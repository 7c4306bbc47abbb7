"""Jensen-Shannon divergence of n-grams: by hand, its range, and the bias that unequal sides would have."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.metrics.divergence import js_divergence
from toys.sentences import sentences

ROWS = st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=3, max_size=3)


def test_by_hand():
    # words: P = a 1/2, b 1/2; Q = a 1/4, b 1/4, c 1/2; M = 3/8, 3/8, 1/4
    p, q = sentences([[0, 1], [1, 0]]), sentences([[0, 2], [2, 1]])
    kl_p = math.log2((1 / 2) / (3 / 8))
    kl_q = 2 * 1 / 4 * math.log2((1 / 4) / (3 / 8)) + 1 / 2 * math.log2((1 / 2) / (1 / 4))
    # pairs: ab, ba on one side, ac, cb on the other: nothing in common
    assert js_divergence(p, q, None, 2) == pytest.approx([(kl_p + kl_q) / 2, 1.0], abs=1e-12)


def test_padding_counts_where_it_is_asked_for():
    # rows of one and of two characters, padded to two by a symbol 9: with it 9 is a quarter of Q
    p, q = sentences([[0, 1], [0, 1]], pad=9), sentences([[0, 1], [0]], pad=9)
    without = js_divergence(p, q, None, 1)[0]
    m = [(1 / 2 + 2 / 3) / 2, (1 / 2 + 1 / 3) / 2]
    expected = sum(0.5 * x * math.log2(x / y) for x, y in zip([1 / 2, 1 / 2], m, strict=True))
    expected += sum(0.5 * x * math.log2(x / y) for x, y in zip([2 / 3, 1 / 3], m, strict=True))
    assert without == pytest.approx(expected, abs=1e-12)
    m = [1 / 2, (1 / 2 + 1 / 4) / 2, 1 / 8]
    padded = 0.5 * (1 / 2 * math.log2((1 / 2) / m[1]))
    padded += 0.5 * (1 / 4 * math.log2((1 / 4) / m[1]) + 1 / 4 * math.log2((1 / 4) / m[2]))
    assert js_divergence(p, q, None, 1, padding=True)[0] == pytest.approx(padded, abs=1e-12)


def test_the_end_symbol_is_no_word():
    assert js_divergence(sentences([[0, 9]]), sentences([[0]]), 9, 1) == [0.0]


@settings(max_examples=50, deadline=None)
@given(ROWS, ROWS)
def test_range_symmetry_and_order(a: list[list[int]], b: list[list[int]]):
    found = js_divergence(sentences(a), sentences(b), None, 3)
    assert all(math.isnan(value) or -1e-12 <= value <= 1 + 1e-12 for value in found)
    assert js_divergence(sentences(b), sentences(a), None, 3) == pytest.approx(found, abs=1e-12, nan_ok=True)
    assert js_divergence(sentences(a[::-1]), sentences(b), None, 3) == pytest.approx(
        found, abs=1e-12, nan_ok=True
    )
    same = js_divergence(sentences(a), sentences(a), None, 3)
    assert all(math.isnan(value) or value == pytest.approx(0, abs=1e-12) for value in same)


def test_without_n_grams_it_is_not_defined():
    found = js_divergence(sentences([[1]]), sentences([[1]]), None, 2)
    assert found[0] == 0
    assert math.isnan(found[1])


def test_unequal_sides_are_refused_since_they_bias():
    # trap: 640 samples against a whole corpus; the same distribution looks farther than it is
    generator = torch.Generator().manual_seed(0)
    draw = lambda n: sentences(torch.randint(0, 200, (n, 8), generator=generator).tolist())  # noqa: E731
    with pytest.raises(ValueError, match="as many of one as of the other"):
        js_divergence(draw(10), draw(100), None, 1)
    few, many = (js_divergence(draw(n), draw(n), None, 2)[1] for n in (50, 2000))
    assert few > many + 0.1
