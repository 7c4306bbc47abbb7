"""Text to ids and back: nothing is lost that should be kept, and every id is the same in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.codec import END, LONGEST, PAD, UNKNOWN, Codec, Level
from orchestrator.corpus import read_lines, split
from orchestrator.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
LEVELS: tuple[Level, ...] = get_args(Level)
LINES = ["the cat sat.", "the cat ran.", "a dog sat, the dog ran.", "the end."]
line_text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), min_size=1, max_size=30
)
corpora = st.lists(line_text.filter(str.strip).map(str.strip), min_size=1, max_size=8)


def ids(codec: Codec, line: str) -> list[int]:
    """The tokens of one line that count, the end symbol included."""
    sequences, _ = codec.encode([line], 10 * len(line) + 10)
    return sequences.tokens[0, : int(sequences.lengths[0])].tolist()


def test_word_ids_by_falling_frequency_then_by_token() -> None:
    codec = Codec.fit(LINES, "word", 100)
    # the 4, . 4, then cat dog ran sat 2 each, then , a end 1 each
    expected = ["<pad>", "<eos>", "<unk>", ".", "the", "cat", "dog", "ran", "sat", ",", "a", "end"]
    assert codec.alphabet.size == len(expected)
    assert codec.tokens(range(3, 12)) == expected[3:]
    assert codec.length == 9  # a dog sat , the dog ran . <eos>


def test_padding_lengths_and_end() -> None:
    codec = Codec.fit(["b b b a a c", "a"], "word", 100)  # b is 4 and a is 3: three each, a before b
    sequences, cut = codec.encode(["a", "b c", "b b b a a c"])
    assert sequences.tokens.tolist() == [
        [3, 1, 0, 0, 0, 0, 0],
        [4, 5, 1, 0, 0, 0, 0],
        [4, 4, 4, 3, 3, 5, 1],
    ]
    assert sequences.tokens.dtype == torch.int64
    assert sequences.lengths.tolist() == [2, 3, 7]
    assert cut == 0
    assert torch.equal(codec.alphabet.lengths(sequences.tokens), sequences.lengths)


def test_cut_line_fills_its_row_without_an_end() -> None:
    codec = Codec.fit(["a b c d"], "word", 100, max_length=3)
    sequences, cut = codec.encode(["a b c d", "a b c", "a b", "a"])
    assert sequences.tokens.tolist() == [[3, 4, 5], [3, 4, 5], [3, 4, 1], [3, 1, 0]]
    assert sequences.lengths.tolist() == [3, 3, 3, 2]
    assert cut == 2
    wider, cut = codec.encode(["a b c d"], 6)
    assert wider.tokens.tolist() == [[3, 4, 5, 6, 1, 0]]
    assert cut == 0


@pytest.mark.parametrize("level", LEVELS)
def test_training_lines_settle_the_length(level: Level) -> None:
    assert Codec.fit(["x" * 5], "character", 300).length == 6
    assert Codec.fit(["x y " * 100], level, 300).length == LONGEST
    codec = Codec.fit(["x"], level, 300)
    sequences, cut = codec.encode(["x", "x . x"])
    assert sequences.tokens.shape == (2, codec.length) == (2, 2)
    assert cut == 1
    assert Codec.fit(["x y " * 100], level, 300, max_length=100).length == 100


@pytest.mark.parametrize("level", LEVELS)
def test_no_lines_to_encode(level: Level) -> None:
    codec = Codec.fit(LINES, level, 300)
    sequences, cut = codec.encode([])
    assert (sequences.tokens.shape, len(sequences.lengths), cut) == ((0, codec.length), 0, 0)
    assert codec.encode([""])[0].tokens[0].tolist() == [END] + [PAD] * (codec.length - 1)


def test_unseen_tokens_become_unknown() -> None:
    codec = Codec.fit(LINES, "word", 100)
    assert codec.tokens(ids(codec, "the bird sat.")) == ["the", "<unk>", "sat", "."]
    letters = Codec.fit(["abc"], "character", 100)
    assert letters.tokens(ids(letters, "abz")) == ["a", "b", "<unk>"]


def test_unknown_is_banned_unless_training_has_it() -> None:
    everything = Codec.fit(LINES, "word", 12)
    assert everything.alphabet.size == 12
    assert everything.alphabet.banned == (PAD, UNKNOWN)
    frequent = Codec.fit(LINES, "word", 11)
    assert frequent.alphabet.size == 11
    assert frequent.alphabet.banned == (PAD,)
    assert frequent.tokens(ids(frequent, "the end.")) == ["the", "<unk>", "."]
    assert Codec.fit(["the <unk> sat"], "word", 100).alphabet.banned == (PAD,)
    assert Codec.fit(LINES, "character", 8).alphabet.banned == (PAD,)
    assert Codec.fit(LINES, "bpe", 260).alphabet.banned == (PAD, UNKNOWN)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A man's dog, isn't it?", "A man 's dog , isn 't it ?"),
        ("six o'clock, black-and-white", "six o'clock , black-and-white"),
        ("3.5 of 1,000 at 9.", "3.5 of 1,000 at 9 ."),
        ("na\u00efve, \u043a\u043e\u0442 e\u0301t\u00e9", "na\u00efve , \u043a\u043e\u0442 e\u0301t\u00e9"),
        ("\u79e6\u5ddd\u96c4\u3002", "\u79e6 \u5ddd \u96c4 \u3002"),
        ("\u79e6 \u5ddd\u3000\u96c4 \u3002", "\u79e6 \u5ddd \u96c4 \u3002"),
        ("use Python\u7f16\u7a0b", "use Python \u7f16 \u7a0b"),
        ("the <unk> of <eos>", "the <unk> of < eos >"),
        ("\U0001f600!! a_b", "\U0001f600 ! ! a_b"),
    ],
)
def test_what_a_word_is(line: str, expected: str) -> None:
    codec = Codec.fit([line], "word", 100)
    assert codec.tokens(ids(codec, line)) == expected.split(" ")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a man 's dog , is n't it ?", "a man's dog, is n't it?"),
        ('a sign that says " stop " ( twice ) .', 'a sign that says "stop" (twice).'),
        ("it costs $ 5 , or 10 % more ...", "it costs $5, or 10% more..."),
        ("\u79e6 \u5ddd \uff0c \u51fd \u8c37 \u3002 \u5b8c", "\u79e6\u5ddd\uff0c\u51fd\u8c37\u3002\u5b8c"),
        ("use Python \u7f16 \u7a0b", "use Python \u7f16\u7a0b"),
    ],
)
def test_word_level_is_joined_as_a_writer_would(line: str, expected: str) -> None:
    codec = Codec.fit([line], "word", 100)
    assert codec.decode(ids(codec, line)) == expected


def test_decode_stops_at_the_end_and_skips_padding() -> None:
    codec = Codec.fit(["a b"], "word", 100)
    assert codec.decode([PAD, 3, PAD, 4, END, 3, 3]) == "a b"
    assert codec.tokens([PAD, 3, PAD, 4, END, 3, 3]) == ["a", "b"]
    assert codec.decode(torch.tensor([3, 2, 1, 0])) == "a <unk>"
    assert codec.decode([END]) == ""
    with pytest.raises(ValueError, match="outside the vocabulary of 5"):
        codec.decode([5])
    with pytest.raises(ValueError, match="outside the vocabulary of 5"):
        codec.decode([-1])


@given(corpora)
@settings(deadline=None, max_examples=60)
def test_characters_come_back_exactly(lines: list[str]) -> None:
    codec = Codec.fit(lines, "character", 1000)
    assert codec.alphabet.size == 3 + len(set("".join(lines)))
    for line in lines:
        assert codec.tokens(ids(codec, line)) == list(line)
        assert codec.decode(ids(codec, line)) == line


@given(corpora, line_text)
@settings(deadline=None, max_examples=60)
def test_bytes_come_back_exactly_even_from_lines_never_seen(lines: list[str], unseen: str) -> None:
    codec = Codec.fit(lines, "bpe", 300)
    assert codec.alphabet.size <= 300
    for line in [*lines, unseen]:
        assert UNKNOWN not in ids(codec, line)
        assert codec.decode(ids(codec, line)) == line


@given(corpora)
@settings(deadline=None, max_examples=150)
def test_words_come_back_but_for_spaces(lines: list[str]) -> None:
    codec = Codec.fit(lines, "word", 1000)
    for line in lines:
        encoded = ids(codec, line)
        decoded = codec.decode(encoded)
        assert ids(codec, decoded) == encoded
        assert [c for c in decoded if not c.isspace()] == [c for c in line if not c.isspace()]


TRICKY = "'s ' \" ( ) \u2019 \u2018 $ . , - 3 dog s <unk> \u5ddd \u3002 \u0301"


@given(st.lists(st.sampled_from(TRICKY.split(" ")), min_size=1, max_size=12))
@settings(deadline=None, max_examples=300)
def test_joined_words_are_split_the_same_again(sampled: list[str]) -> None:
    codec = Codec.fit([TRICKY], "word", 100)
    known = codec.tokens(range(UNKNOWN, codec.alphabet.size))
    drawn = [UNKNOWN + known.index(token) for token in sampled]
    assert ids(codec, codec.decode(drawn)) == [*drawn, END]


BPE = Codec.fit(LINES * 3, "bpe", 300)


@given(st.lists(st.integers(3, 299), max_size=12))
@settings(deadline=None, max_examples=100)
def test_generated_bytes_never_break_a_line(sampled: list[int]) -> None:
    drawn = [id % BPE.alphabet.size for id in sampled]
    assert not set("\n\r\0") & set(BPE.decode(drawn))


@pytest.mark.parametrize("level", LEVELS)
def test_save_and_load_are_exact(level: Level, tmp_path: Path) -> None:
    lines = [*LINES, '\u79e6\u5ddd \u2028 \U0001f600 "quoted" \\ \x07']
    codec = Codec.fit(lines, level, 290, max_length=17)
    codec.save(tmp_path / "a.json")
    loaded = Codec.load(tmp_path / "a.json")
    loaded.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (loaded.alphabet, loaded.length, loaded.level) == (codec.alphabet, 17, level)
    probe = [*lines, "unseen \u96c4 words"]
    rows = codec.encode(probe)[0].tokens.tolist()
    assert loaded.encode(probe)[0].tokens.tolist() == rows
    assert [loaded.decode(row) for row in rows] == [codec.decode(row) for row in rows]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": 99}', '{"format": 1, "tokenizer": {}}'])
def test_broken_vocabulary_file(content: str, tmp_path: Path) -> None:
    path = tmp_path / "codec.json"
    path.write_text(content)
    with pytest.raises(UserError, match="not a vocabulary that this version can read"):
        Codec.load(path)


def test_missing_vocabulary_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no vocabulary file"):
        Codec.load(tmp_path / "codec.json")
    with pytest.raises(UserError, match="cannot read the vocabulary file"):
        Codec.load(tmp_path)


def test_bad_arguments() -> None:
    with pytest.raises(UserError, match="no training lines"):
        Codec.fit([], "word", 100)
    with pytest.raises(UserError, match=r"too small for data\.level = bpe: the bytes alone take 243"):
        Codec.fit(LINES, "bpe", 242)
    assert Codec.fit(LINES, "bpe", 243).alphabet.size == 243
    with pytest.raises(ValueError, match="'syllable'; one of word, character, bpe"):
        Codec.fit(LINES, "syllable", 100)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_length is 0"):
        Codec.fit(LINES, "word", 100).encode(LINES, 0)


def test_ids_do_not_depend_on_the_process(tmp_path: Path) -> None:
    # many ties: every word occurs equally often, every pair of letters almost so
    lines = [" ".join(f"w{(7 * i + j) % 90:02d}" for j in range(6)) for i in range(90)]
    code = (
        "import sys, json; from pathlib import Path; from orchestrator.codec import Codec\n"
        "lines, folder = json.loads(sys.argv[1]), Path(sys.argv[2])\n"
        "for level in ('word', 'character', 'bpe'): Codec.fit(lines, level, 300).save(folder / level)\n"
    )
    running = []
    for seed in ("0", "1"):
        (tmp_path / seed).mkdir()
        command = [sys.executable, "-c", code, json.dumps(lines), str(tmp_path / seed)]
        running.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}))
    assert [process.wait() for process in running] == [0, 0]
    for level in LEVELS:
        Codec.fit(lines, level, 300).save(tmp_path / "here")
        here = (tmp_path / "here").read_bytes()
        assert [(tmp_path / seed / level).read_bytes() for seed in ("0", "1")] == [here, here]


@pytest.mark.parametrize(
    ("name", "T", "V", "first"),
    [
        ("image_coco/image_coco.txt", 38, 4453, "a bicycle replica with a clock as the front wheel."),
        ("chinese_poems/shi.txt", 25, 4700, "\u79e6\u5ddd\u96c4\u5e1d\u5b85\uff0c"),
    ],
)
def test_real_corpora_at_word_level(name: str, T: int, V: int, first: str) -> None:
    path = ROOT / "../shared/data" / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    parts = split(read_lines(path), 0.05, 0.05)
    codec = Codec.fit(parts.train, "word", 10_000)
    assert (codec.length, codec.alphabet.size, codec.alphabet.banned) == (T, V, (PAD, UNKNOWN))
    sequences, cut = codec.encode(parts.train)
    assert sequences.tokens.shape == (len(parts.train), T)
    assert cut == 0
    assert not (sequences.tokens == UNKNOWN).any()
    decoded = [codec.decode(row) for row in sequences.tokens.tolist()]
    assert decoded[0].startswith(first)
    assert torch.equal(codec.encode(decoded)[0].tokens, sequences.tokens)


def test_filled_rows_have_one_length_and_no_end(tmp_path: Path) -> None:
    codec = Codec.fit(["ab", "abcd"], "character", 100, filled=True)
    assert (codec.length, codec.alphabet.end, codec.alphabet.banned) == (4, None, (PAD, UNKNOWN))
    sequences, cut = codec.encode(["ab", "abcd", "abcda"])
    a, b, c, d = (codec.spelling.index(letter) for letter in "abcd")
    assert sequences.tokens.tolist() == [[a, b, END, END], [a, b, c, d], [a, b, c, d]]
    assert sequences.lengths.tolist() == [4, 4, 4]
    assert cut == 1
    assert [codec.decode(row) for row in sequences.tokens.tolist()] == ["ab", "abcd", "abcd"]
    codec.save(tmp_path / "codec.json")
    again = Codec.load(tmp_path / "codec.json")
    assert again.filled
    assert again.alphabet == codec.alphabet


def test_a_generator_may_be_kept_from_unknown_words(tmp_path: Path) -> None:
    lines = ["a a b", "a b c d"]
    learned, never = (Codec.fit(lines, "word", 5, emits_unknown=emits) for emits in (True, False))
    assert UNKNOWN not in learned.alphabet.banned
    assert UNKNOWN in never.alphabet.banned
    assert learned.spelling == never.spelling
    never.save(tmp_path / "codec.json")
    assert Codec.load(tmp_path / "codec.json").alphabet == never.alphabet


def test_the_most_frequent_tokens() -> None:
    codec = Codec.fit(["b b b a a c"], "word", 100)
    assert [codec.spelling[i] for i in codec.most_frequent(2)] == ["b", "a"]
    assert len(codec.most_frequent(50)) == 3


def test_the_same_ids_mean_the_same_where_level_and_spelling_are_one() -> None:
    codec = Codec.fit(["a b", "b c"], "word", 100)
    assert codec.same(Codec.fit(["b c", "a b"], "word", 100, max_length=9))
    assert not codec.same(Codec.fit(["a b", "b d"], "word", 100))  # as many tokens
    assert not codec.same(Codec.fit(["ab", "bc"], "character", 100))
