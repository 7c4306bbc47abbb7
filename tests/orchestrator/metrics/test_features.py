"""Sentence vectors: the counts that their inner products estimate, and that a vocabulary does not matter."""

from __future__ import annotations

import pytest
import torch

from orchestrator.metrics.features import WIDTH, Features
from toys.sentences import sentences

WORDS = [f"word{i}" for i in range(50)]


def test_the_same_words_have_the_same_vector_in_every_vocabulary():
    one = Features(["<pad>", "the", "cat"], None)(sentences([[1, 2]]))
    other = Features(["cat", "a", "the"], None)(sentences([[2, 0, 1]], pad=1).select(slice(0, 1)))
    assert not one.equal(other)
    assert one.equal(Features(["cat", "a", "the"], None)(sentences([[2, 0]])))


def test_inner_products_are_those_of_the_counts_within_chance():
    rows = [[0, 1, 2, 1], [1, 2, 3, 3], [7, 8, 9, 10]]
    vectors = Features(WORDS, None)(sentences(rows))
    # words of the first two in common: 1 twice and once, 2 once and once: 2 + 1 of 4; pairs: (1, 2) once of 3
    error = 4 * (2 / WIDTH) ** 0.5
    words, pairs = vectors[:, :WIDTH] @ vectors[:, :WIDTH].T, vectors[:, WIDTH:] @ vectors[:, WIDTH:].T
    assert words[0, 1].item() == pytest.approx(3 / 4, abs=error)
    assert pairs[0, 1].item() == pytest.approx(1 / 3, abs=error)
    assert words[0, 2].item() == pytest.approx(0, abs=error)
    # 1 + 4 + 1 of 4, and three different pairs
    assert words[0, 0].item() == pytest.approx(6 / 4, abs=error)
    assert pairs[0, 0].item() == pytest.approx(1, abs=error)


def test_empty_sentences_padding_and_the_end_symbol():
    features = Features(WORDS, 5)
    assert features(sentences([[], [5]])).abs().sum() == 0
    assert features(sentences([[1, 2, 5], [1, 2]], pad=7))[0].equal(features(sentences([[1, 2]], pad=3))[0])
    assert features(sentences([[1], [1, 2, 3]]))[0].equal(features(sentences([[1]]))[0])


def test_word_order_changes_the_pairs_alone():
    one, other = Features(WORDS, None)(sentences([[1, 2, 3], [3, 2, 1]]))
    assert torch.equal(one[:WIDTH], other[:WIDTH])
    assert not torch.equal(one[WIDTH:], other[WIDTH:])
