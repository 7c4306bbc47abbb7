"""Reranking by a backward model, with its probabilities written down."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch.testing import assert_close

from algorithms.types import Alphabet, Sequences, Source
from toys.cases import attention, dialogues
from workers.reranking import Backward, rerank

ALPHABET = Alphabet(size=5, start=0, end=1, pad=0, banned=(0,))


class Echo(torch.nn.Module):
    """p(x | y): 0.9 for each symbol of x that y begins with, else 0.1."""

    length, alphabet, conditional = 3, ALPHABET, True

    def log_prob(self, tokens, source):
        same = tokens == source.tokens[:, 0, :1]
        return torch.where(same, log(0.9), log(0.1))


def test_the_hypothesis_that_explains_its_source_comes_forward():
    found = torch.tensor([[2, 1, 0], [3, 1, 0], [4, 1, 0], [3, 1, 0]])  # two rows, two hypotheses each
    sequences = Sequences(found, ALPHABET.lengths(found))
    likely = torch.tensor([[log(0.5), log(0.2)], [log(0.5), log(0.4)]])
    said = torch.tensor([[[2, 2, 1], [3, 3, 1]], [[4, 4, 1], [4, 1, 0]]])  # the latest turns: 3 3 end; 4 end
    source = Source(said, said > 0)
    got, score = rerank(Backward(Echo(), 0.5), sequences, likely, source)
    assert got.tokens[:, 0].tolist() == [3, 2, 4, 3]  # the first row is turned round, the second is not
    first = [0.5 * (log(0.2) + 2 * log(0.9) + log(0.1)), 0.5 * (log(0.5) + 3 * log(0.1))]
    second = [0.5 * (log(0.5) + log(0.9) + log(0.1)), 0.5 * (log(0.4) + 2 * log(0.1))]
    assert_close(score, torch.tensor([first, second]))


def test_a_weight_of_0_keeps_the_order():
    found = torch.tensor([[2, 1, 0], [3, 1, 0]])
    source = Source(torch.tensor([[[3, 3, 1]]]), torch.ones(1, 1, 3, dtype=torch.bool))
    sequences = Sequences(found, ALPHABET.lengths(found))
    got, _ = rerank(Backward(Echo(), 0.0), sequences, torch.tensor([[-1.0, -2.0]]), source)
    assert torch.equal(got.tokens, found)


def test_it_needs_something_to_explain():
    found = torch.tensor([[2, 1, 0]])
    with pytest.raises(ValueError, match="no tokens"):
        rerank(
            Backward(Echo()),
            Sequences(found, ALPHABET.lengths(found)),
            torch.zeros(1, 1),
            Source(vector=torch.zeros(1, 2)),
        )


def test_a_trained_kind_of_model_reads_replies_as_its_source():
    G = attention(ALPHABET)
    tokens = torch.tensor([[2, 3, 1, 0], [4, 1, 0, 0], [3, 3, 3, 1], [2, 1, 0, 0]])
    sequences = Sequences(tokens, ALPHABET.lengths(tokens))
    source = dialogues(2)
    got, score = rerank(Backward(G, 1.0), sequences, torch.zeros(2, 2), source)
    said = torch.zeros(4, 4, dtype=torch.int64)
    said[:, :3] = source.tokens[:, -1].where(source.mask[:, -1], 0).repeat_interleave(2, 0)
    exact = G.log_prob(said, Source(tokens[:, None], sequences.mask[:, None]))
    counted = (said != 0) & (torch.arange(4) < ALPHABET.lengths(said)[:, None])  # 0 is banned
    counted[:, :3] &= source.mask[:, -1].repeat_interleave(2, 0)
    exact = exact.masked_fill(~counted, 0).sum(1).view(2, 2)
    assert_close(score, exact.sort(1, descending=True).values)
    assert sorted(got.tokens.tolist()) == sorted(tokens.tolist())
