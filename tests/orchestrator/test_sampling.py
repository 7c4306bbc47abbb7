"""Sampling from what was trained: what a model cannot do is said."""

from __future__ import annotations

import pytest
import torch

from algorithms.types import Alphabet
from orchestrator.codec import Codec
from orchestrator.decoding import Decoding
from orchestrator.errors import UserError
from orchestrator.sampling import Sampler
from toys import NgramGenerator, ToyOneShot
from toys.small_models import answering


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


def test_a_model_that_answers_wants_something_to_answer():
    sampler = answering()
    with pytest.raises(UserError, match=r"--source, once for each turn.*advseq chat RUN"):
        sampler.sample(2)
    with pytest.raises(UserError, match="--source"):
        sampler.sample(2, history=["a b", " "])
    lines = sampler.sample(300, history=["a b", "b"])
    assert lines == sampler.sample(300, history=["a b", "b"])
    assert lines != sampler.sample(300, history=["b b a b", "b"])  # it reads what it answers
    assert sampler.sample(1, history=["a b", "b"], seed=1) != lines[:1] or len(set(lines)) > 1
    assert all(line.startswith("b") for line in sampler.sample(5, prefix="b", history=["a"]))


def test_the_likeliest_answer():
    sampler = answering()
    assert sampler.likeliest(["a b"], Decoding(beam=1)) == sampler.likeliest(["a b"], Decoding(beam=1))
    assert isinstance(sampler.likeliest(["a b"], Decoding(beam=5)), str)


def test_the_most_frequent_words_of_a_text_may_be_repeated():
    sampler = answering()
    with torch.no_grad():
        sampler.generator.output_bias[1] = -50.0  # no reply ends, and so each has to repeat words
    plain, penalised = Decoding(beam=5), Decoding(beam=5, repeat_penalty=3.0)
    # all words of so small a vocabulary are among the most frequent
    assert sampler.likeliest(["a b"], penalised) == sampler.likeliest(["a b"], plain)
    sampler.codec = None  # numbers are no words
    assert sampler.likeliest(["3 4"], penalised) != sampler.likeliest(["3 4"], plain)


def test_a_model_that_answers_ids():
    sampler = answering(text=False)
    assert len(sampler.sample(3, history=["2 3", "4"])) == 3
    said_again = sampler.draw(9, history=["2 3 1"]).tokens  # a reply as it is printed, with its end
    assert torch.equal(said_again, sampler.draw(9, history=["2 3"]).tokens)
    with pytest.raises(UserError, match="wanted ids from 0 to 4"):
        sampler.sample(3, history=["9"])
    with pytest.raises(UserError, match="--source 'a': this model has no text"):
        sampler.sample(3, history=["a"])


def test_a_model_without_sources_answers_nothing():
    sampler = Sampler(NgramGenerator(Alphabet(size=4), 3), None)
    with pytest.raises(UserError, match="answers nothing"):
        sampler.sample(2, history=["1"])
