"""Dialogues as tokens: histories in front of replies, nothing held out that was learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from orchestrator.codec import END, UNKNOWN, Codec
from orchestrator.data import load_data
from orchestrator.data_config import DataConfig
from orchestrator.dialogue_data import histories
from orchestrator.errors import UserError

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


def corpus(folder: Path, extra: list[list[str]] | None = None) -> Path:
    talk = [[f"hello {n}", f"good day {n}", f"and how are you {n}", "fine"] for n in range(60)]
    path = folder / "talk.jsonl"
    path.write_text("\n".join(json.dumps(turns) for turns in talk + (extra or [])))
    return path


def load(path: Path, **settings):
    return load_data(DataConfig(path=path, format="dialogues", validation=0.1, test=0.1, **settings))


def test_each_reply_has_the_turns_before_it(tmp_path: Path):
    data = load(corpus(tmp_path))
    assert data.codec is not None
    spelled = data.codec.spelling
    source = data.train.source
    assert source is not None
    assert source.tokens is not None
    assert source.mask is not None
    seen = set()
    for row in range(len(data.train)):
        turns = [
            " ".join(spelled[i] for i, counts in zip(ids, mask, strict=True) if counts)
            for ids, mask in zip(source.tokens[row].tolist(), source.mask[row].tolist(), strict=True)
        ]
        n = next(word for turn in turns for word in turn.split() if word.isdigit() or word == "<unk>")
        reply = data.text(data.train.tokens[row : row + 1])[0]
        kind = reply.split()[0]
        seen.add(kind)
        if kind == "good":
            assert turns == ["", f"hello {n} <eos>"]  # what is lacking stands in front
        elif kind == "and":
            assert turns == [f"hello {n} <eos>", f"good day {n} <eos>"]
        else:
            assert turns == [f"good day {n} <eos>", f"and how are you {n} <eos>"]
    assert seen == {"good", "and", "fine"}
    assert len(data.train) + len(data.validation) + len(data.test) == 180


def test_whole_dialogues_are_held_out_and_what_occurs_in_training_is_left_out(tmp_path: Path):
    data = load(corpus(tmp_path, [["same", "same reply", f"closing {n}"] for n in range(40)]))
    learned = pairs(data.train)
    for part in (data.validation, data.test):
        assert not learned & pairs(part)
    assert any("occur in training and were left out" in note for note in data.notes)


def pairs(part) -> set[tuple]:
    tokens, asked = (
        part.tokens.tolist(),
        part.source.tokens.masked_fill(~part.source.mask, -1).flatten(1).tolist(),
    )
    return {(tuple(a), tuple(b)) for a, b in zip(asked, tokens, strict=True)}


def test_short_replies_are_left_out_and_long_turns_cut(tmp_path: Path):
    data = load(corpus(tmp_path), min_length=3, max_source=3, max_length=4)
    assert set(data.train.lengths.tolist()) == {4}
    assert {reply.split()[0] for reply in data.text(data.train.tokens)} == {"good", "and"}
    assert data.train.source is not None
    assert data.train.source.tokens is not None
    assert data.train.source.tokens.shape[1:] == (2, 3)
    told = " ".join(data.notes)
    for said in (
        "fewer than 3 tokens were left out (data.min_length)",
        "cut (data.max_length)",
        "(data.max_source)",
    ):
        assert said in told


def test_nothing_is_left(tmp_path: Path):
    with pytest.raises(UserError, match=r"no train example is left .*min_length = 50"):
        load(corpus(tmp_path), min_length=50)


def test_other_histories_are_other_data(tmp_path: Path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    one, two = corpus(first), corpus(second)
    two.write_text(two.read_text().replace('"hello', '"hallo'))
    assert load(one).digest != load(two).digest
    assert load(one).digest == load(one).digest
    assert load(one, history=1).digest != load(one).digest


def test_pairs_have_one_source(tmp_path: Path):
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(f"ein {n}\tone {n}" for n in range(60)))
    data = load_data(DataConfig(path=path, format="pairs"))
    assert data.train.source is not None
    assert data.train.source.tokens is not None
    assert data.train.source.tokens.shape[1] == 1


def test_a_history_ends_each_turn_and_pads_in_front():
    codec = Codec.fit(["a b c d"], "word", 100)
    source, cut = histories(codec, [["a b"], ["a", "b c d"]], turns=2, S=3)
    assert source.tokens is not None
    assert source.mask is not None
    a, b, c = (codec.spelling.index(word) for word in "abc")
    assert source.mask.tolist() == [
        [[False] * 3, [True] * 3],
        [[True, True, False], [True] * 3],
    ]
    assert source.tokens[0, 1].tolist() == [a, b, END]
    assert source.tokens[1, 0, :2].tolist() == [a, END]
    assert source.tokens[1, 1].tolist() == [b, c, codec.spelling.index("d")]
    assert cut == 1


def test_the_conditional_oracle_answers_and_its_likelihood_depends_on_the_history():
    config = DataConfig(
        builtin="conditional_oracle", oracle_vocabulary=100, oracle_length=12, sequences=600, held_out=50
    )
    data, again = load_data(config), load_data(config)
    assert data.digest == again.digest
    assert data.oracle is not None
    assert data.train.source is not None
    assert data.train.source.tokens is not None
    assert data.train.source.tokens.shape == (600, 2, 12)
    mine = -data.oracle.log_prob(data.train.tokens, data.train.source).sum() / data.train.lengths.sum()
    rolled = data.train.source.select(torch.arange(600).roll(1))
    other = -data.oracle.log_prob(data.train.tokens, rolled).sum() / data.train.lengths.sum()
    assert 2.2 < mine < other - 0.4
    assert 0.2 < data.train.lengths.eq(12).float().mean() < 0.7
    assert len(set(data.train.lengths.tolist())) == 12
    assert data.name == "conditional-oracle-v100-t12-seed0"
    more = load_data(config.model_copy(update={"sequences": 700}))
    assert torch.equal(more.train.tokens[:600], data.train.tokens)


@pytest.mark.skipif(not (SHARED / "dailydialog_en").is_dir(), reason="the real dialogues are not here")
def test_real_dialogues():
    data = load_data(
        DataConfig(
            path=SHARED / "dailydialog_en/dialogues_text_En.txt",
            format="dialogues",
            max_length=20,
            max_vocabulary=5_000,
            min_length=5,
        )
    )
    assert len(data.train) > 30_000
    assert data.train.source is not None
    assert data.train.source.mask is not None
    assert data.train.source.mask.any(2)[:, 1].all()


def turns_of(data, row: int) -> list[str]:
    source, spelled = data.train.source, data.codec.spelling
    return [
        " ".join(spelled[i] for i, counts in zip(ids, mask, strict=True) if counts and i != END)
        for ids, mask in zip(source.tokens[row].tolist(), source.mask[row].tolist(), strict=True)
    ]


def test_the_reply_that_follows_is_known_where_it_is_kept(tmp_path: Path):
    data = load(corpus(tmp_path), min_length=2)  # "fine" is left out
    assert len(data.following) == 3
    for part, following in zip((data.train, data.validation, data.test), data.following, strict=True):
        replies = data.text(part.tokens)
        for reply, place in zip(replies, following.tolist(), strict=True):
            if reply.startswith("good day"):
                assert replies[place] == f"and how are you {reply.split()[-1]}"
            else:
                assert place == -1


def test_reversed_the_latest_turn_is_learned_from_the_reply(tmp_path: Path):
    path = corpus(tmp_path)
    data, plain = load(path, reverse=True), load(path)
    assert data.codec is not None
    assert data.alphabet == plain.alphabet
    assert data.codec.spelling == plain.codec.spelling
    assert data.name != plain.name
    for row in range(len(data.train)):
        (asked,), said = turns_of(data, row), data.text(data.train.tokens[row : row + 1])[0]
        if asked.startswith("good day"):
            assert said == f"hello {asked.split()[-1]}"
    assert all((places == -1).all() for places in data.following)


def test_replies_with_unknown_words_may_be_left_out(tmp_path: Path):
    path = corpus(tmp_path)
    kept = load(path, max_vocabulary=20, unknown="left_out")
    for part in (kept.train, kept.validation, kept.test):
        assert not (part.tokens == UNKNOWN).any()
    assert (kept.train.source.tokens == UNKNOWN).any()  # they are read all the same
    assert UNKNOWN in kept.alphabet.banned
    assert any("beyond the vocabulary were left out" in note for note in kept.notes)
    never = load(path, max_vocabulary=20, unknown="never")
    assert (never.train.tokens == UNKNOWN).any()
    assert UNKNOWN in never.alphabet.banned
    assert UNKNOWN not in load(path, max_vocabulary=20).alphabet.banned
