"""Sampling from what was trained: what a model cannot do is said."""

from __future__ import annotations

import pytest

from algorithms.types import Alphabet
from orchestrator.codec import Codec
from orchestrator.errors import UserError
from orchestrator.sampling import Sampler
from toys import NgramGenerator, ToyOneShot


def test_a_one_shot_model_cannot_continue_a_beginning():
    sampler = Sampler(ToyOneShot(Alphabet(size=4), 3), None)
    assert len(sampler.sample(2)) == 2
    with pytest.raises(UserError, match="all positions at once"):
        sampler.sample(2, prefix="1 2")


def test_a_prefix_is_not_filled_up():
    codec = Codec.fit(["ab", "abcd"], "character", 100, filled=True)
    sampler = Sampler(NgramGenerator(codec.alphabet, codec.length, n=1), codec)
    drawn = sampler.draw(20, prefix="ab").tokens
    assert [codec.spelling[token] for token in drawn[0, :2].tolist()] == ["a", "b"]
    assert len(drawn[:, 2].unique()) > 1  # not the end symbol alone
