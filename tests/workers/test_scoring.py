"""Scores and what is read of prefixes, some rows at a time."""

from __future__ import annotations

import torch

from algorithms.models.base import Scorer
from algorithms.models.text_cnn import TextCNN
from algorithms.types import Alphabet, Rows, Sequences
from toys import ToyPrefixDiscriminator
from toys.cases import dialogues
from workers.scoring import read, score

ALPHABET = Alphabet(size=9)


def discriminator() -> TextCNN:
    torch.manual_seed(0)
    return TextCNN.Config(embedding=4, filters=((1, 3), (3, 4))).build(ALPHABET, 5).eval()


def some(rows: int) -> Sequences:
    tokens = torch.randint(9, (rows, 5), generator=torch.Generator().manual_seed(1))
    return Sequences(tokens, torch.full((rows,), 5))


def test_prefixes_are_read_in_calls_of_one_size() -> None:
    D = discriminator()
    scorer, rows = D.scorer(2**20), some(150)
    whole = read(scorer, rows)
    assert whole is not None
    assert whole.shape == (150, 6, 7)
    assert whole[:70].equal(read(scorer, rows.select(slice(0, 70))))
    assert read(Scorer(ToyPrefixDiscriminator(ALPHABET)), rows) is None


def test_scores_of_more_rows_than_a_call_has() -> None:
    D, rows = discriminator(), some(600)
    got = score(D.scorer(), ("logit", "logit"), rows, None, "fp32")
    assert got.shape == (600, 2)
    torch.testing.assert_close(got[:, 1], D.logits(rows.tokens))
    assert score(D.scorer(), (), rows, None, "fp32").shape == (600, 0)


def test_rows_whose_sources_are_read_with_them_are_scored_few_at_a_time() -> None:
    seen = []

    class Noting(Scorer):
        def logits(self, rows: Rows) -> torch.Tensor:
            seen.append(len(rows.sequences))
            return super().logits(rows)

    scorer, rows = Noting(discriminator()), some(150)
    plain = score(scorer, ("logit",), rows, None, "fp32")
    sourced = Sequences(rows.tokens, rows.lengths, dialogues(150))
    torch.testing.assert_close(score(scorer, ("logit",), sourced, None, "fp32"), plain)
    assert seen == [256, 64, 64, 64]
