"""Your own text as data: one sequence a line, read with care and split so that nothing leaks.

What a line means (words, characters, bytes) is the business of ``orchestrator.codec``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.text_file import read_text

MINIMUM_LINES = 20
"""Distinct lines below which a corpus can neither be split nor learned from."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The lines to learn from, to choose the best checkpoint by, and to report on."""

    train: list[str]
    validation: list[str]
    test: list[str]


def read_lines(path: Path) -> list[str]:
    """The sequences of a text file: UTF-8, one a line, without outer blanks and blank lines.

    Line ends may be LF, CRLF or CR; a byte order mark is dropped. Only these end a line: other
    separators of Unicode (U+2028, form feed) stay inside theirs.

    Raises:
        UserError: the file is missing, is no regular file, cannot be read, is empty, is binary, is not
            UTF-8, or has fewer than ``MINIMUM_LINES`` distinct lines.
    """
    text = read_text(path, "data.path")
    lines = [line for raw in text.split("\n") if (line := raw.strip())]
    if not lines:
        raise UserError(
            f"data.path: {path} is empty{' but for blank lines' if text else ''}; "
            "a corpus is UTF-8 text, one sequence a line"
        )
    if (found := len(set(lines))) < MINIMUM_LINES:
        raise UserError(
            f"data.path: {path} is too small: {len(lines)} lines, {found} of them distinct; at least "
            f"{MINIMUM_LINES} distinct lines are needed to train, validate and test. Give more lines, "
            "one sequence a line"
        )
    return lines


def python_topics() -> list[str]:
    """The lines of the help that every Python has about its language (``pydoc_data.topics``), without outer
    blanks and blank lines. They differ a little from one version of Python to the next."""
    from pydoc_data.topics import topics  # half a megabyte, wanted here alone

    text = "\n".join(topics[name] for name in sorted(topics))
    return [line for raw in text.split("\n") if (line := raw.strip())]


def split(lines: list[str], validation: float, test: float) -> Splits:
    """Divides lines by their content: the same line always goes the same way, wherever it stands.

    Distinct lines are ranked by a hash of their text; the first share is the test split, the next the
    validation split, the rest is for training. Repeated lines stay together, so that no held-out line
    occurs in training. Within a split the order of ``lines`` is kept.

    Args:
        lines: the corpus, repeats included.
        validation: share of the distinct lines, in (0, 1); at least one line.
        test: likewise.

    Raises:
        UserError: nothing would be left for training.
    """
    ranked = sorted(set(lines), key=lambda line: (_digest([line], 16), line))
    tested, validated = (max(1, int(share * len(ranked) + 0.5)) for share in (test, validation))
    if tested + validated >= len(ranked):
        raise UserError(
            f"data.validation = {validation} and data.test = {test} of {len(ranked)} distinct lines leave "
            "none for training: lower the shares or give more lines"
        )
    held_out = dict.fromkeys(ranked[:tested], "test") | dict.fromkeys(
        ranked[tested : tested + validated], "validation"
    )
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for line in lines:
        parts[held_out.get(line, "train")].append(line)
    return Splits(**parts)


def fingerprint(lines: Iterable[str]) -> str:
    """A short hash of the lines and their order, 16 hexadecimal digits: equal where the data are equal."""
    return _digest(lines, 8)


def _digest(lines: Iterable[str], size: int) -> str:
    digest = blake2b(digest_size=size)
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
