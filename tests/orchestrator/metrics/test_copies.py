"""Repeats and copies: by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.metrics.copies import distinct, novelty, unique_rate
from toys.sentences import sentences

ROWS = st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=1, max_size=8)


def test_by_hand():
    samples = sentences([[1, 2], [1, 2], [3], [1, 2, 1]])
    assert unique_rate(samples) == 3 / 4
    assert novelty(samples, sentences([[1, 2], [5]])) == 2 / 4
    # words 1 2 1 2 3 1 2 1: 3 of 8; pairs 12 12 12 21: 2 of 4
    assert distinct(samples, None, 2) == [3 / 8, 2 / 4]


def test_padding_does_not_tell_two_sentences_apart():
    assert novelty(sentences([[1]], pad=7), sentences([[1], [2, 2]], pad=0)) == 0
    assert unique_rate(sentences([[0], [0, 0]])) == 1  # the pad symbol may be a word, too


def test_the_end_symbol_is_no_word():
    assert distinct(sentences([[1, 9], [1, 9]]), 9, 2)[0] == 1 / 2
    assert math.isnan(distinct(sentences([[1, 9], [1, 9]]), 9, 2)[1])


def test_empty_one_word_and_all_equal():
    assert [math.isnan(value) for value in distinct(sentences([[], []]), None, 1)] == [True]
    assert math.isnan(unique_rate(sentences([])))
    assert math.isnan(novelty(sentences([]), sentences([[1]])))
    assert unique_rate(sentences([[]])) == 1
    same = sentences([[1, 2, 3]] * 10)
    assert unique_rate(same) == 1 / 10
    assert distinct(same, None, 2) == pytest.approx([3 / 30, 2 / 20])


@given(ROWS, ROWS)
def test_range_and_order(rows: list[list[int]], known: list[list[int]]):
    samples, real = sentences(rows), sentences(known)
    assert 0 < unique_rate(samples) == unique_rate(sentences(rows[::-1])) <= 1
    assert 0 <= novelty(samples, real) == novelty(sentences(rows[::-1]), sentences(known[::-1])) <= 1
    assert novelty(samples, samples) == 0
    for value, turned in zip(
        distinct(samples, None, 2), distinct(sentences(rows[::-1]), None, 2), strict=True
    ):
        assert math.isnan(value) or 0 < value == turned <= 1
