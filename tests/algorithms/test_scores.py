"""Scores are found by name, travel, and say what they are made of."""

from __future__ import annotations

import pickle

import pytest
import torch

from algorithms.bleu import References, sentence_bleu
from algorithms.models.base import Discriminator
from algorithms.models.text_cnn import TextCNN
from algorithms.scores import SCORES, lookup
from algorithms.types import Alphabet, Rows, Sequences


@pytest.fixture
def rows() -> Sequences:
    tokens = torch.tensor([[1, 2, 3, 4], [1, 2, 4, 3], [5, 5, 5, 5]])
    return Sequences(tokens, torch.full((3,), 4))


@pytest.fixture
def references() -> References:
    return References(Sequences(torch.tensor([[1, 2, 3, 5], [4, 4, 2, 4]]), torch.full((2,), 4)), order=4)


@pytest.fixture
def D() -> Discriminator:
    torch.manual_seed(0)
    return TextCNN.Config(filters=((1, 3), (2, 3))).build(Alphabet(size=6), 4).eval()


def test_logit_is_the_discriminators(rows: Sequences, D: Discriminator) -> None:
    got = lookup("logit").function(D.scorer(), Rows(rows), None)
    torch.testing.assert_close(got, D.logits(rows.tokens))
    assert got.dtype == torch.float32


def test_logit_is_float32_whatever_the_discriminator_computes_in(rows: Sequences, D: Discriminator) -> None:
    assert lookup("logit").function(D.double().scorer(), Rows(rows), None).dtype == torch.float32


@pytest.mark.parametrize("n", [2, 3, 4])
def test_bleu_is_sentence_bleu_of_its_order(
    n: int, rows: Sequences, D: Discriminator, references: References
) -> None:
    got = lookup(f"bleu_{n}").function(D.scorer(), Rows(rows), references)
    assert got.equal(sentence_bleu(rows, references, n))
    assert (got.shape, got.dtype) == ((3,), torch.float32)


def test_bleu_by_hand(rows: Sequences, D: Discriminator, references: References) -> None:
    # 1 2 3 4: four words known, two of three pairs, one of two triples; 5 5 5 5: one word of four
    two, three = (lookup(f"bleu_{n}").function(D.scorer(), Rows(rows), references) for n in (2, 3))
    assert two[0].item() == pytest.approx((2 / 3) ** (1 / 2))
    assert three[0].item() == pytest.approx((2 / 3 * 1 / 2) ** (1 / 3))
    assert two[2].item() == pytest.approx((1 / 4 * 0.1 / 3) ** (1 / 2))


def test_bleu_without_references_is_refused(rows: Sequences, D: Discriminator) -> None:
    with pytest.raises(ValueError, match="bleu_3 compares with real sequences"):
        lookup("bleu_3").function(D.scorer(), Rows(rows), None)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_that_was_sent_is_the_same(name: str) -> None:
    assert pickle.loads(pickle.dumps(lookup(name))) == lookup(name)


def test_neutral_scores() -> None:
    assert {name: score.neutral for name, score in SCORES.items()} == {
        "logit": 0.0,
        "bleu_2": 0.5,
        "bleu_3": 0.5,
        "bleu_4": 0.5,
    }


@pytest.mark.parametrize(("wrong", "near"), [("logits", "logit"), ("bleu3", "bleu_3"), ("", "logit")])
def test_an_unknown_name_is_told_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"no score '{wrong}': did you mean '{near}'\?"):
        lookup(wrong)
