"""Weights by tf-idf against numbers worked out by hand."""

from __future__ import annotations

from math import log

import torch
from torch.testing import assert_close

from algorithms.mle import MLE
from algorithms.tf_idf import TfIdf
from algorithms.types import Alphabet, Sequences

ALPHABET = Alphabet(size=7, start=0, end=1, pad=0, banned=(0, 2))


def rows(*texts: list[int]) -> Sequences:
    T = max(map(len, texts)) + 1
    tokens = torch.tensor([[*text, 1, *[0] * (T - len(text) - 1)] for text in texts])
    return Sequences(tokens, ALPHABET.lengths(tokens))


# 3 is everywhere, 4 in two of four replies, 5 and 6 in one
CORPUS = rows([3, 3, 4], [3, 4, 2], [3, 5, 5], [3, 3, 6])


def learned(stop_words: int = 1) -> TfIdf:
    weights = TfIdf(7, stop_words)
    weights.learn(CORPUS, ALPHABET)
    return weights


def test_rare_words_count_and_stop_words_ends_and_unknown_ones_do_not() -> None:
    assert_close(learned(0).idf, torch.tensor([0, 0, 0, 0, log(2), log(4), log(4)]))
    assert_close(learned(3).idf, torch.tensor([0, 0, 0, 0, 0, log(4), log(4)]))  # 3, the end and 4


def test_the_mean_over_the_words_that_count() -> None:
    # t: log 2; log 2; 5 stands twice, 2 log 4 = 4 log 2, of which 3 log 2 count; log 4 = 2 log 2
    assert_close(learned()(CORPUS), torch.tensor([1.0, 1.0, 3.0, 2.0]) * 4 / 7)


def test_a_reply_of_stop_words_has_the_least_weight_of_a_word() -> None:
    assert_close(learned()(rows([3, 3, 3], [3, 3, 4])), torch.ones(2))


def test_no_reply_counts_more_than_three_times_the_least() -> None:
    # 2 log 4 = 4 log 2 beside log 2: 3 and 1
    assert_close(learned()(rows([5, 5], [4])), torch.tensor([1.5, 0.5]))


class Known(torch.nn.Module):
    """log p = -1 of every token, and none of what is banned."""

    alphabet = ALPHABET

    def log_prob(self, tokens, source):
        return torch.where(tokens == 2, -torch.inf, torch.where(tokens == 0, 0.0, -1.0))


def test_likelihoods_count_by_the_weights_and_leave_unknown_words_out() -> None:
    algorithm = MLE(MLE.Config(tf_idf=True, stop_words=1, teacher_forcing=0.5))
    algorithm.prepare(ALPHABET, 4)
    algorithm.study(CORPUS, ALPHABET)
    rng = torch.Generator()
    # tokens that count, ends included: 4, 3, 4, 4; weights 4/7 (1, 1, 3, 2)
    told = (4 + 3 + 3 * 4 + 2 * 4) * 4 / 7
    assert_close(algorithm.pretrain_loss(Known(), CORPUS, 0, rng).value, torch.tensor(told / 15))
    forced = algorithm.teacher_forcing(Known(), CORPUS, rng)
    assert forced is not None
    assert_close(forced.value, torch.tensor(0.5 * told / 4))


def test_without_it_all_count_the_same() -> None:
    algorithm = MLE(MLE.Config())
    algorithm.prepare(ALPHABET, 4)
    algorithm.study(CORPUS, ALPHABET)
    assert_close(algorithm.pretrain_loss(Known(), CORPUS, 0, torch.Generator()).value, torch.tensor(1.0))
