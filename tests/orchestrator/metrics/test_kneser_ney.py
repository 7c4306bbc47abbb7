"""The n-gram language model: by hand, as a distribution, and as a measure."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.metrics.kneser_ney import FALLBACK, KneserNey
from toys.sentences import sentences

CORPUS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=12)


def test_a_unigram_model_by_hand():
    # a a b: counts 2 and 1 of 3; the discounts cannot be estimated: 1 of count 2, 0.5 of count 1
    lm = KneserNey(sentences([[0, 0, 1]]), vocabulary=4, order=1)
    left = (FALLBACK[1] + FALLBACK[0]) / 3
    expected = [(2 - 1) / 3 + left / 4, (1 - 0.5) / 3 + left / 4, left / 4]
    found = [lm.log_prob(sentences([[w]])).exp().item() for w in (0, 1, 2)]
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_bigram_model_by_hand():
    # "a b" and "a c" and "c b": contexts: start -> a a c, a -> b c, c -> b
    lm = KneserNey(sentences([[0, 1], [0, 2], [2, 1]]), vocabulary=3, order=2)
    # unigrams by the words that precede: a after 1 (start), b after 2 (a, c), c after 2 (start, a); 5 in all
    left = (0.5 + 1 + 1) / 5
    unigram = [0.5 / 5 + left / 3, 1 / 5 + left / 3, 1 / 5 + left / 3]
    # after the start: a twice, c once, of 3
    begin = (1 + 0.5) / 3
    after_start = [1 / 3 + begin * unigram[0], begin * unigram[1], 0.5 / 3 + begin * unigram[2]]
    found = [lm.log_prob(sentences([[w]])).exp().item() for w in range(3)]
    assert found == pytest.approx(after_start, abs=1e-12)
    # after a: b and c once each, of 2
    two = lm.log_prob(sentences([[0, 1]])).exp().item()
    assert two == pytest.approx(after_start[0] * (0.5 / 2 + (0.5 + 0.5) / 2 * unigram[1]), abs=1e-12)
    # nothing was seen after b: the unigrams alone
    two = lm.log_prob(sentences([[1, 0]])).exp().item()
    assert two == pytest.approx(after_start[1] * unigram[0], abs=1e-12)


def test_discounts_are_those_of_chen_and_goodman():
    # 8 words once, 4 twice, 2 thrice, 1 four times: Y = 8 / 16; D = 1 - 2 Y 4/8, 2 - 3 Y 2/4, 3 - 4 Y 1/2
    counts = {**dict.fromkeys(range(8), 1), **dict.fromkeys(range(8, 12), 2), 12: 3, 13: 3, 14: 4}
    row = [word for word, count in counts.items() for _ in range(count)]
    lm = KneserNey(sentences([row]), vocabulary=15, order=1)
    d1, d2, d3 = 0.5, 1.25, 2.0
    total = len(row)
    left = (8 * d1 + 4 * d2 + 3 * d3) / total
    for word, kept in ((0, 1 - d1), (8, 2 - d2), (12, 3 - d3), (14, 4 - d3)):
        expected = kept / total + left / 15
        assert lm.log_prob(sentences([[word]])).exp().item() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(CORPUS, st.integers(1, 4))
def test_it_is_a_distribution_after_every_history(rows: list[list[int]], order: int):
    lm = KneserNey(sentences(rows), vocabulary=5, order=order)  # word 4 was never seen
    for history in itertools.chain([()], itertools.product(range(5), repeat=2)):
        joint = lm.log_prob(sentences([[*history, word] for word in range(5)])).exp().sum().item()
        before = math.exp(lm.log_prob(sentences([list(history)])).item()) if history else 1.0
        assert joint == pytest.approx(before, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(CORPUS, CORPUS)
def test_neither_order_nor_padding_matters(rows: list[list[int]], judged: list[list[int]]):
    lm, turned = (KneserNey(sentences(one), vocabulary=4) for one in (rows, rows[::-1]))
    assert lm.nll(sentences(judged)) == pytest.approx(turned.nll(sentences(judged, pad=3)), rel=1e-9)
    assert lm.log_prob(sentences(judged))[0].item() == pytest.approx(
        lm.log_prob(sentences(judged[:1])).item(), rel=1e-9
    )


def test_it_prefers_what_it_has_seen():
    generator = torch.Generator().manual_seed(0)
    rows = [[int(x), int(x) + 1, int(x) + 2] for x in torch.randint(0, 30, (300,), generator=generator)]
    lm = KneserNey(sentences(rows), vocabulary=40)
    like, unlike = sentences(rows[:20]), sentences([row[::-1] for row in rows[:20]])
    assert lm.nll(like) < 2 < math.log(40) < lm.nll(unlike)


def test_samples_that_are_all_equal_are_a_bad_model_of_the_rest():
    rows = [[w, (3 * w) % 7, (w + 1) % 7] for w in range(7)]
    broad, narrow = KneserNey(sentences(rows), 7), KneserNey(sentences([rows[0]] * 7), 7)
    assert broad.nll(sentences(rows)) < narrow.nll(sentences(rows))
    assert narrow.nll(sentences([rows[0]])) < broad.nll(sentences([rows[0]]))


def test_empty_and_one_word_sequences():
    lm = KneserNey(sentences([[], [2]]), vocabulary=3)
    assert lm.log_prob(sentences([[], [2]])).tolist()[0] == 0.0
    assert lm.log_prob(sentences([[2]])).item() < 0
    assert math.isnan(lm.nll(sentences([[]])))
    assert KneserNey(sentences([[], []]), vocabulary=3).nll(sentences([[1, 2]])) == pytest.approx(math.log(3))
    with pytest.raises(ValueError, match="at least one sequence"):
        KneserNey(sentences([]), vocabulary=3)
