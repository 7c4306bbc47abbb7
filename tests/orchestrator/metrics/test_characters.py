"""The character model's divergence by hand, and words that exist."""

from __future__ import annotations

from math import isnan, log2

import pytest
import torch

from algorithms.types import Sequences
from orchestrator.metrics.characters import ROWS, Characters

END = 1
SPELLING = ["<pad>", "<eos>", *"abcdefghijklmnopqrstuvwxyz", " "]
T = 8


def rows(*lines: str, times: int = 1, filled: bool = True) -> Sequences:
    """Lines as tokens, filled up with the end symbol."""
    tokens = torch.full((len(lines), T), END)
    for row, line in zip(tokens, lines, strict=True):
        row[: len(line)] = torch.tensor([SPELLING.index(character) for character in line])
    lengths = torch.tensor([T if filled else min(T, len(line) + 1) for line in lines])
    return Sequences(tokens.repeat(times, 1), lengths.repeat(times))


def characters(train: Sequences, test: Sequences) -> Characters:
    return Characters(SPELLING, train, test, END, filled=True)


def entropy(*shares: float) -> float:
    return -sum(share * log2(share) for share in shares if share)


def test_the_divergence_by_hand():
    """JS = H(M) - (H(P) + H(Q)) / 2, padding counted: rows of 4 a and 4 fillers, and of 2 a and 6 fillers."""
    known = characters(rows("aaaa", times=3), rows("aaaa", times=ROWS))
    found = known.divergences(rows("aa", times=ROWS))
    P, Q, M = (1 / 2, 1 / 2), (1 / 4, 3 / 4), (3 / 8, 5 / 8)
    assert found[0] == pytest.approx(entropy(*M) - (entropy(*P) + entropy(*Q)) / 2)
    # bigrams of 7: aa 3, a_ 1, __ 3; and aa 1, a_ 1, __ 5
    P, Q, M = (3 / 7, 1 / 7, 3 / 7), (1 / 7, 1 / 7, 5 / 7), (2 / 7, 1 / 7, 4 / 7)
    assert found[1] == pytest.approx(entropy(*M) - (entropy(*P) + entropy(*Q)) / 2)
    assert known.floors == pytest.approx([0.0] * 4, abs=1e-12)


def test_nothing_in_common_is_one_bit():
    known = characters(rows("abababab"), rows("abababab", times=ROWS))
    assert known.divergences(rows("cdcdcdcd", times=ROWS)) == pytest.approx([1.0] * 4)


def test_it_is_always_640_rows():
    known = characters(rows("aaaa", "bb"), rows("aaaa", times=ROWS))
    samples = rows("aaaa", times=ROWS)
    more = Sequences(torch.cat([samples.tokens, rows("zz", times=99).tokens]), torch.full((ROWS + 99,), T))
    assert known.divergences(more) == known.divergences(samples)
    assert all(isnan(value) for value in known.divergences(rows("aaaa", times=ROWS - 1)))


def test_characters_drawn_one_by_one_have_the_frequencies_of_the_rows():
    known = characters(rows("abcabca", "zz"), rows("aaaa", times=ROWS))
    assert known.divergences(known.unigram)[0] < 0.01
    assert known.unigram.tokens.shape == (ROWS, T)


def test_words_of_three_letters_or_more_that_occur_in_training_lines():
    known = characters(rows("the cat", "a dog"), rows("the"))
    assert known.known_words(rows("the dog", "xyz cat", "a b", times=1)) == pytest.approx(3 / 4)
    assert isnan(known.known_words(rows("a b")))
    # "hous" may be the head of a house: a word that a full row cuts says nothing
    assert known.known_words(rows("cat hous")) == 1.0


def test_a_filled_row_is_as_long_as_its_line():
    known = characters(rows("the cat"), rows("the"))
    assert known.lines(rows("abc", "abcdefgh", "")).lengths.tolist() == [4, 8, 1]
    variable = Characters(SPELLING, rows("a", filled=False), rows("a", filled=False), END, filled=False)
    samples = rows("abc", filled=False)
    assert variable.lines(samples) is samples
    assert all(isnan(value) for value in variable.divergences(rows("abc", times=ROWS, filled=False)))
