"""Texts with sources: files of dialogues and of pairs, and the examples that they hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.text_file import read_text

MINIMUM = 20
"""Distinct dialogues below which a corpus can neither be split nor learned from."""

_BREAK = "__eou__"
_TURNS = ("turns", "dialog", "dialogue", "utterances", "messages", "conversation")
_TEXT = ("text", "content", "utterance", "value")
_WANTED = {
    "pairs": "source, tab, target",
    "dialogues": f'a JSON list of turns, an object with such a list (as "{_TURNS[0]}"), or turns with '
    f"{_BREAK} between them",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A text and what it answers, the latest last."""

    history: tuple[str, ...]
    reply: str


def read_dialogues(path: Path, form: str) -> list[tuple[str, ...]]:
    """The dialogues of a file, one a line; a pair is one of two turns. Blank lines are left out.

    Args:
        form: pairs, or dialogues.

    Raises:
        UserError: the file cannot be used; says which line is why, and what was wanted.
    """
    dialogues = []
    for number, raw in enumerate(read_text(path, "data.path").split("\n"), 1):
        if line := raw.strip():
            try:
                turns = _pair(line) if form == "pairs" else _turns(line)
            except ValueError as problem:
                raise UserError(
                    f"data.path: line {number} of {path} {problem}; with data.format={form} each line is "
                    f"{_WANTED[form]}"
                ) from None
            if len(turns) > 1:
                dialogues.append(tuple(turns))
    if len(distinct := set(dialogues)) < MINIMUM:
        raise UserError(
            f"data.path: {path} has {len(distinct)} distinct lines with two turns or more; at least "
            f"{MINIMUM} are needed to train, validate and test"
        )
    return dialogues


def examples(dialogues: Sequence[tuple[str, ...]], history: int) -> list[Example]:
    """Every turn but the first of each dialogue, and up to so many turns before it."""
    return [
        Example(turns[max(0, i - history) : i], turns[i]) for turns in dialogues for i in range(1, len(turns))
    ]


def reversed_example(example: Example) -> Example:
    """What is answered, given the answer."""
    return Example((example.reply,), example.history[-1])


def following(dialogues: Sequence[tuple[str, ...]]) -> list[int]:
    """Of each of these examples the place of the next one of its dialogue; -1 where it ends."""
    places: list[int] = []
    for turns in dialogues:
        begin = len(places)
        places += [*range(begin + 1, begin + len(turns) - 1), -1]
    return places


def _pair(line: str) -> list[str]:
    parts = [part.strip() for part in line.split("\t")]
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"has {len(parts)} part{'s' * (len(parts) != 1)} between tabs, or an empty one")
    return parts


def _turns(line: str) -> list[str]:
    if line[0] not in "[{":
        return [turn for part in line.split(_BREAK) if (turn := part.strip())]
    try:
        found = json.loads(line)
    except json.JSONDecodeError as problem:
        raise ValueError(f"is no JSON ({problem})") from None
    if isinstance(found, dict):
        named = [found[key] for key in _TURNS if key in found]
        if not named:
            raise ValueError(f"has none of the keys {', '.join(_TURNS)}")
        found = named[0]
    if not isinstance(found, list):
        raise ValueError("holds no list of turns")
    return [turn for one in found if (turn := _text(one))]


def _text(turn: Any) -> str:
    if isinstance(turn, dict):
        turn = next((turn[key] for key in _TEXT if key in turn), None)
    if not isinstance(turn, str):
        raise ValueError(f"has a turn that is neither a text nor an object with one of {', '.join(_TEXT)}")
    try:
        turn.encode()
    except UnicodeEncodeError:
        raise ValueError("has a turn with half of a surrogate pair, which is no character") from None
    return " ".join(turn.split())
