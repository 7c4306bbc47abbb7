"""Scores from tables and shared prefixes: those of the discriminator itself, in either precision."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.testing import assert_close

from algorithms.models.text_cnn import TextCNN
from algorithms.models.text_cnn_scorer import TextCNNScorer
from algorithms.types import Alphabet, Origin, Rows, Sequences

FILTERS = ((1, 20), (2, 30), (3, 17), (7, 9), (9, 8))


def networks(alphabet: Alphabet, table_bytes: int) -> tuple[TextCNN, TextCNNScorer]:
    torch.manual_seed(3)
    D = TextCNN.Config(embedding=12, filters=FILTERS).build(alphabet, 9).eval()
    return D, TextCNNScorer(D, table_bytes)


def batch(alphabet: Alphabet, rows: int) -> Sequences:
    tokens = torch.randint(2, alphabet.size, (rows, 9), generator=torch.Generator().manual_seed(5))
    if alphabet.end is not None:
        at = torch.arange(rows)[:, None] % 9
        tokens = tokens.scatter(1, at, alphabet.end).masked_fill(torch.arange(9) > at, alphabet.pad)
    return Sequences(tokens, alphabet.lengths(tokens))


ALPHABETS = [Alphabet(size=40), Alphabet(size=40, end=1)]


def test_a_window_is_the_sum_of_what_its_tokens_say() -> None:
    """E = 1, width 2, one filter W = (10, 1); embeddings of 0, 1, 2 are 1, 2, 3."""
    D = TextCNN.Config(embedding=1, filters=((2, 1),)).build(Alphabet(size=3), 4).eval()
    with torch.no_grad():
        D.embedding.weight.copy_(torch.tensor([[1.0], [2.0], [3.0]]))
        D.filters()[0].weight.copy_(torch.tensor([[[10.0, 1.0]]]))
    tokens = torch.tensor([[2, 0, 1, 1]])
    for table_bytes in (0, 2**20):
        read = TextCNNScorer(D, table_bytes).read(Sequences(tokens, torch.tensor([4])))
        # windows 31, 12, 22; prefixes of length 0 and 1 hold none
        assert read[0, :, 0].tolist() == [-torch.inf, -torch.inf, 31.0, 31.0, 31.0]


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=["fixed", "variable"])
def test_tables_fill_the_memory_that_they_are_given_and_no_more(alphabet: Alphabet) -> None:
    sizes = [(w * 40 + 1) * F * 4 for w, F in FILTERS]
    rows = Rows(batch(alphabet, 60))
    expected = networks(alphabet, 0)[0].logits(rows.sequences.tokens)
    for count in range(len(FILTERS) + 1):
        _, scorer = networks(alphabet, sum(sizes[:count]))
        assert scorer.bytes == sum(sizes[:count])
        assert_close(scorer.logits(rows), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=["fixed", "variable"])
@pytest.mark.parametrize("table_bytes", [0, 2**20])
def test_a_shared_prefix_changes_no_bit(alphabet: Alphabet, table_bytes: int) -> None:
    _, scorer = networks(alphabet, table_bytes)
    rows = batch(alphabet, 64)
    shared = torch.arange(64) % rows.lengths.clamp_max(8)  # no prefix holds the end
    read = scorer.read(rows)
    with_all = scorer.logits(Rows(rows, Origin(read, torch.arange(64), torch.zeros(64).long())))
    with_some = scorer.logits(Rows(rows, Origin(read, torch.arange(64), shared)))
    assert with_all.equal(with_some)


@pytest.mark.parametrize("alphabet", ALPHABETS, ids=["fixed", "variable"])
def test_bfloat16_is_near(alphabet: Alphabet) -> None:
    D, scorer = networks(alphabet, 2**20)
    rows = batch(alphabet, 200)
    exact, near = scorer.logits(Rows(rows)), scorer.logits(Rows(rows, precision="bf16"))
    assert near.dtype == torch.float32
    assert not near.equal(exact)
    assert (near.sigmoid() - exact.sigmoid()).abs().max() < 0.01
    assert_close(exact, D.logits(rows.tokens), atol=1e-5, rtol=0)


def test_other_weights_need_a_refresh() -> None:
    D, scorer = networks(ALPHABETS[0], 2**20)
    rows = Rows(batch(ALPHABETS[0], 5))
    before = scorer.logits(rows)
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.mul_(1.1)
    assert scorer.logits(rows).equal(before)
    scorer.refresh()
    assert_close(scorer.logits(rows), D.logits(rows.sequences.tokens), atol=1e-5, rtol=0)
    alone = scorer.logits(rows)
    for table in (one.table for one in scorer._convolutions if one.table is not None):
        table.fill_(7.0)
    with ThreadPoolExecutor(2) as threads:
        scorer.refresh(threads.map)
    assert scorer.logits(rows).equal(alone)
