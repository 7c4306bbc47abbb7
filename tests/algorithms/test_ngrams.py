"""Every n-gram has its own id, and is counted where it stands."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from algorithms.ngrams import NGramIndex, count

CORPORA = st.lists(st.lists(st.integers(0, 3), max_size=7), min_size=1, max_size=6)


def padded(rows: list[list[int]], pad: int = 0) -> tuple[Tensor, Tensor]:
    """Tokens [B, T] and lengths [B], one column wider than the longest row."""
    tokens = torch.full((len(rows), max(map(len, rows)) + 1), pad)
    for b, row in enumerate(rows):
        tokens[b, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return tokens, torch.tensor([len(row) for row in rows])


def grams(row: list[int], n: int) -> Counter[tuple[int, ...]]:
    return Counter(zip(*(row[k:] for k in range(n)), strict=False))


def test_counts_of_three_sentences() -> None:
    # 5 6 5 6 | 6 5 | (empty): unigrams 5 and 6, bigrams (5,6) twice, (6,5) in both, trigrams (5,6,5), (6,5,6)
    tokens, lengths = padded([[5, 6, 5, 6], [6, 5], []], pad=5)
    index, found = NGramIndex.build(tokens, lengths, 3)
    assert [index.size(n) for n in (1, 2, 3)] == [2, 2, 2]
    uni, bi, tri = (count(one, 3) for one in found)
    assert (uni.ids.tolist(), uni.rows.tolist(), uni.counts.tolist()) == (
        [0, 0, 1, 1],
        [0, 1, 0, 1],
        [2, 1, 2, 1],
    )
    assert (bi.ids.tolist(), bi.rows.tolist(), bi.counts.tolist()) == ([0, 1, 1], [0, 0, 1], [2, 1, 1])
    assert (tri.ids.tolist(), tri.rows.tolist(), tri.counts.tolist()) == ([0, 1], [0, 0], [1, 1])


def test_unknown_ngrams_are_left_out() -> None:
    index, _ = NGramIndex.build(*padded([[1, 2, 3]]), 3)
    uni, bi, tri = index.find(*padded([[1, 2, 9, 1, 2, 3], [3, 2, 1]]), 3)
    assert uni.rows.tolist() == [0] * 5 + [1] * 3
    assert (bi.rows.tolist(), bi.ids.tolist()) == ([0, 0, 0], [0, 0, 1])
    assert (tri.rows.tolist(), tri.ids.tolist()) == ([0], [0])


@settings(max_examples=60, deadline=None)
@given(CORPORA, CORPORA)
def test_every_count_agrees_with_counting_by_hand(known: list[list[int]], asked: list[list[int]]) -> None:
    index, found = NGramIndex.build(*padded(known), 4)
    for n, (own, other) in enumerate(zip(found, index.find(*padded(asked), 4), strict=True), 1):
        vocabulary = set().union(*(grams(row, n) for row in known))
        assert index.size(n) == len(vocabulary)
        for rows, one in ((known, own), (asked, other)):
            want = Counter(
                {(b, g): c for b, row in enumerate(rows) for g, c in grams(row, n).items() if g in vocabulary}
            )
            counts = count(one, len(rows))
            assert sorted(counts.counts.tolist()) == sorted(want.values())
            for b in range(len(rows)):
                assert int(counts.counts[counts.rows == b].sum()) == sum(
                    c for (r, _), c in want.items() if r == b
                )


def test_ids_of_a_huge_vocabulary_do_not_collide() -> None:
    # a code such as sum of token * V^k would need V^5 = 2^200 here
    far = 2**40
    rows = [[far, far + 1, 0, far, 1], [far, far + 1, 1, far, 0], [0, far, far + 1, 1, far]]
    index, found = NGramIndex.build(*padded(rows), 5)
    assert index.size(5) == 3
    assert len(set(found[4].ids.tolist())) == 3
    assert len(index.find(*padded([[far, far + 1, 0, far, 0]]), 5)[4].ids) == 0


def test_an_order_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        NGramIndex.build(*padded([[1]]), 0)
