"""Files of dialogues and pairs in the forms that people have; what is said of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.dialogue_file import Example, examples, read_dialogues
from orchestrator.errors import UserError

TURNS = [[f"how are you {n} ?", "fine .", f"good {n} ."] for n in range(20)]


@pytest.mark.parametrize(
    "line",
    [
        json.dumps,
        lambda turns: json.dumps({"id": 3, "turns": turns}),
        lambda turns: json.dumps({"messages": [{"role": "user", "content": turn} for turn in turns]}),
        lambda turns: json.dumps({"dialog": [{"text": turn} for turn in turns]}, ensure_ascii=False),
        " __eou__ ".join,
        lambda turns: " __eou__ ".join(turns) + " __eou__",
    ],
    ids=["list", "turns", "messages", "dialog", "between", "behind"],
)
def test_every_form_of_a_dialogue(tmp_path: Path, line):
    path = tmp_path / "talk.jsonl"
    path.write_text("\n".join(map(line, TURNS)) + "\n\n")
    assert read_dialogues(path, "dialogues") == [tuple(turns) for turns in TURNS]


def test_a_dialogue_of_one_turn_has_no_reply(tmp_path: Path):
    path = tmp_path / "talk.txt"
    path.write_text("\n".join([*(" __eou__ ".join(turns) for turns in TURNS), "alone"]))
    assert len(read_dialogues(path, "dialogues")) == 20


def test_pairs(tmp_path: Path):
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(f"ein {n}\t one {n} " for n in range(30)))
    assert read_dialogues(path, "pairs")[3] == ("ein 3", "one 3")


@pytest.mark.parametrize(
    ("form", "line", "explained"),
    [
        ("pairs", "no tab", r"line 21 .*has 1 part between tabs.*source, tab, target"),
        ("pairs", "a\tb\tc", "has 3 parts between tabs"),
        ("pairs", "a\t", "1 part between tabs"),
        ("dialogues", "[1, 2]", "line 21 .*turn that is neither a text nor an object.*__eou__"),
        ("dialogues", '{"lines": ["a"]}', "none of the keys turns, dialog"),
        ("dialogues", '{"turns": "a"}', "no list of turns"),
        ("dialogues", r'["a", "b \ud800"]', "half of a surrogate pair"),
        ("dialogues", '["a", "b"', "is no JSON"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, form: str, line: str, explained: str):
    path = tmp_path / "talk"
    good = [f"a {n}\tb" if form == "pairs" else json.dumps([f"a {n}", "b"]) for n in range(20)]
    path.write_text("\n".join([*good, line]))
    with pytest.raises(UserError, match=explained):
        read_dialogues(path, form)


def test_too_few_dialogues(tmp_path: Path):
    path = tmp_path / "talk"
    path.write_text("\n".join(['["a", "b"]'] * 50))
    with pytest.raises(UserError, match="1 distinct lines with two turns or more; at least 20"):
        read_dialogues(path, "dialogues")


def test_every_turn_but_the_first_is_a_reply_to_those_before():
    assert examples([("a", "b", "c", "d"), ("e", "f")], history=2) == [
        Example(("a",), "b"),
        Example(("a", "b"), "c"),
        Example(("b", "c"), "d"),
        Example(("e",), "f"),
    ]
