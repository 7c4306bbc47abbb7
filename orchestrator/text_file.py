"""Reading a text file that a user names, with every reason why it cannot be read said plainly."""

from __future__ import annotations

import codecs
from pathlib import Path
from shlex import quote

from orchestrator.errors import UserError


def read_text(path: Path, what: str) -> str:
    """The text of a file: UTF-8, lines ended by LF, CRLF or CR, which become LF; no byte order mark.

    Args:
        what: the setting or option that names the file, for messages.

    Raises:
        UserError: the file is missing, is no regular file, cannot be read, is binary, or is not UTF-8.
    """
    return _decode(_read(path, what), path, what)


def text_lines(path: Path, what: str) -> list[str]:
    """The lines of a text file without outer blanks; blank ones stay, but for those at its end.

    Raises:
        UserError: as above, or there is nothing in it.
    """
    lines = [line.strip() for line in read_text(path, what).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise UserError(f"{what}: {path} is empty; wanted is UTF-8 text, one sequence a line")
    return lines


def _read(path: Path, what: str) -> bytes:
    try:
        if path.is_dir():
            raise UserError(f"{what}: {path} is a directory; name one text file in it, one sequence a line")
        if path.exists() and not path.is_file():  # a pipe would be empty when the run is resumed
            raise UserError(f"{what}: {path} is not a regular file; save the text to a file and name that")
        return path.read_bytes()
    except FileNotFoundError:
        hint = "" if path.is_absolute() else f" (looked for {path.absolute()})"
        raise UserError(f"{what}: there is no file {path}{hint}; check the path") from None
    except PermissionError:
        raise UserError(f"{what}: no permission to read {path}; try: chmod u+r {quote(str(path))}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path itself
        raise UserError(f"{what}: cannot read {path}: {error}") from None


def _decode(raw: bytes, path: Path, what: str) -> str:
    """The text of a file, its lines ended by LF alone."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(
            f"{what}: {path} looks like UTF-16; UTF-8 is wanted. Convert it: {_iconv('utf-16', path)}"
        )
    raw = raw.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if (nul := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise UserError(
            f"{what}: {path} is not text but binary (a NUL byte in line {line}); "
            "wanted is UTF-8 text, one sequence a line"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise UserError(
            f"{what}: {path} is not UTF-8: line {line} has byte 0x{raw[error.start]:02x} at byte {column} "
            f"of the line. If it is Latin-1, convert it: {_iconv('latin1', path)}"
        ) from None


def _iconv(encoding: str, path: Path) -> str:
    return f"iconv -f {encoding} -t utf-8 {quote(str(path))} > {quote(path.stem + '.utf8.txt')}"
