"""Your own text as data: one sequence a line, read with care and split so that nothing leaks.

What a line means (words, characters, bytes) is the business of ``orchestrator.codec``.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from shlex import quote

from orchestrator.errors import UserError

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
    text = _decode(_read(path), path)
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


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise UserError(
                f"data.path: {path} is a directory; name one text file in it, one sequence a line"
            )
        if path.exists() and not path.is_file():  # a pipe would be empty when the run is resumed
            raise UserError(f"data.path: {path} is not a regular file; save the text to a file and name that")
        return path.read_bytes()
    except FileNotFoundError:
        hint = "" if path.is_absolute() else f" (looked for {path.absolute()})"
        raise UserError(f"data.path: there is no file {path}{hint}; check the path") from None
    except PermissionError:
        raise UserError(
            f"data.path: no permission to read {path}; try: chmod u+r {quote(str(path))}"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path itself
        raise UserError(f"data.path: cannot read {path}: {error}") from None


def _decode(raw: bytes, path: Path) -> str:
    """The text of a file, its lines ended by LF alone."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(
            f"data.path: {path} looks like UTF-16; UTF-8 is wanted. Convert it: {_iconv('utf-16', path)}"
        )
    raw = raw.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if (nul := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise UserError(
            f"data.path: {path} is not text but binary (a NUL byte in line {line}); "
            "a corpus is UTF-8 text, one sequence a line"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise UserError(
            f"data.path: {path} is not UTF-8: line {line} has byte 0x{raw[error.start]:02x} at byte {column} "
            f"of the line. If it is Latin-1, convert it: {_iconv('latin1', path)}"
        ) from None


def _iconv(encoding: str, path: Path) -> str:
    return f"iconv -f {encoding} -t utf-8 {quote(str(path))} > {quote(path.stem + '.utf8.txt')}"
