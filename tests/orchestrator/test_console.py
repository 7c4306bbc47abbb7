"""The console in a pipe, on a real pseudo-terminal, and with its readers gone."""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest
from rich.table import Table
from rich.text import Text

from orchestrator import display
from orchestrator.console import Console
from orchestrator.progress import Progress

ESCAPE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Screen:
    """A terminal that reads what a process writes to it, and knows what a person would then see."""

    def __init__(self, columns: int = 80) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self.raw = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self.master, 65536)
            except OSError:  # Linux says so when the other end is closed
                return
            if not piece:
                return
            self.raw += piece

    def lines(self) -> list[str]:
        """What stands there in the end, without colours."""
        self.stream.close()
        self._reader.join()
        os.close(self.master)
        rows, row, column, text, at = [""], 0, 0, self.raw.decode(), 0
        while at < len(text):
            if code := ESCAPE.match(text, at):
                at = code.end()
                count = int(code[1]) if code[1].isdigit() else 1
                if code[2] == "A":
                    row = max(0, row - count)
                elif code[2] == "K":
                    rows[row] = ""
                else:
                    assert code[2] in "mhl", code[0]
                continue
            if text[at] == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif text[at] == "\r":
                column = 0
            else:
                rows[row] = rows[row][:column].ljust(column) + text[at] + rows[row][column + 1 :]
                column += 1
            at += 1
        while rows and not rows[-1].strip():
            rows.pop()
        return [line.rstrip() for line in rows]


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Iterator[None]:
    """The environment of a terminal."""
    with monkeypatch.context() as patch:
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        patch.setenv("TERM", "xterm-256color")
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


def live(screen: Screen, clock: Clock | None = None) -> Console:
    return Console(stream=screen.stream, result=io.StringIO(), clock=clock or Clock())


def steps(stage: str, total: int, first: int = 1, branch: str = "", **metrics: float) -> Iterator[Progress]:
    named = {name.replace("__", "/"): value for name, value in metrics.items()}
    for done in range(1, total + 1):
        yield Progress(first + done - 1, stage, done, total, branch, named)


def test_a_pipe_gets_one_plain_line_a_step() -> None:
    stream, clock = io.StringIO(), Clock()
    with Console(stream=stream, result=io.StringIO(), clock=clock) as console:
        console.say("drawing 10,000 training sequences [from] the oracle")
        clock.now = 60.0  # set-up
        for progress in steps("pretrain_generator", 2, loss__generator=6.5, time__step=2.0):
            clock.now += 2.0
            console.show(progress)
        console.warn("the store does not answer")
    assert stream.getvalue().splitlines() == [
        "drawing 10,000 training sequences [from] the oracle",
        "pretrain_generator 1 1/2 loss/generator=6.500 s/epoch=2.000 left=2.0s",
        "pretrain_generator 2 2/2 loss/generator=6.500 s/epoch=2.000 left=0.0s",
        "warning: the store does not answer",
    ]


def test_quiet_shows_warnings_and_the_result_only() -> None:
    stream, result = io.StringIO(), io.StringIO()
    with Console(quiet=True, stream=stream, result=result) as console:
        console.say("preparing")
        for progress in steps("adversarial", 3):
            console.show(progress)
        console.warn("careful")
        console.conclude({}, "the table")
    assert stream.getvalue() == "warning: careful\n"
    assert result.getvalue() == "the table\n"


def test_json_is_all_that_reaches_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(as_json=True) as console:
        console.say("preparing")
        print("a library speaks")  # noqa: T201
        for progress in steps("adversarial", 2, reward__mean=0.5):
            console.show(progress)
        console.conclude({"metrics": {"a": math.nan, "b": [1.5, math.inf]}, "data": "诗"}, "the table")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"metrics": {"a": None, "b": [1.5, None]}, "data": "诗"}
    assert "preparing\na library speaks\nadversarial 1 1/2 reward/mean=0.5000" in err
    assert "the table" not in out + err


def test_what_libraries_print_is_given_back_after_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with pytest.raises(KeyboardInterrupt), Console(as_json=True):
        raise KeyboardInterrupt
    assert sys.stdout is before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_terminal_keeps_finished_lines_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Drawn a thousand times a second by one thread while another prints: no line is lost or left behind."""
    monkeypatch.setattr(display, "_REDRAWN", 0.001)
    screen = Screen(columns)
    # rich asks the standard streams for the width, or COLUMNS
    with terminal(monkeypatch, COLUMNS=str(columns)), live(screen) as console:
        console.say("building [bold]the oracle[/bold]")
        for progress in steps("pretrain_generator", 40, eval__nll_oracle=9.1, loss__generator=6.0):
            console.show(progress)
            if progress.done % 10 == 0:
                console.warn(f"number {progress.done}")
        for progress in steps("pretrain_discriminator", 30, 41, d__accuracy_real=0.9, d__accuracy_fake=0.8):
            console.show(progress)
        for branch in ("", "constant_reward", "untrained_discriminator"):
            for progress in steps("adversarial", 40, 71, branch, eval__nll_oracle=8.5, reward__mean=math.nan):
                console.show(progress)
                threading.Event().wait(0.001)
                if progress.done == 20:
                    console.say("evaluating")
    lines, raw = screen.lines(), bytes(screen.raw)
    assert [line.split("  ")[0] for line in lines] == [
        "✓ building [bold]the oracle[/bold] 0.0s",
        "warning: number 10",
        "warning: number 20",
        "warning: number 30",
        "warning: number 40",
        "✓ pretrain generator",
        "✓ pretrain discriminator",
        "✓ evaluating 0.0s",
        "✓ adversarial",
        "✓ evaluating 0.0s",
        "✓ constant reward",
        "✓ evaluating 0.0s",
        "✓ untrained discriminator",
    ]
    assert "40/40" in lines[5]
    assert "nll_oracle 9.10" in lines[5]
    assert max(map(len, lines)) <= columns
    assert raw.count(b"\x1b[?25l") == 1
    assert raw.rindex(b"\x1b[?25h") > raw.rindex(b"\x1b[?25l")  # the cursor is visible again


def test_a_terminal_shows_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, clock = Screen(80), Clock()
    metrics = {
        "eval/nll_oracle": 9.0,
        "eval/nll_test": 8.5,
        "d/accuracy_real": 0.75,
        "loss/generator": math.nan,
    }
    with terminal(monkeypatch), live(screen, clock) as console:
        for done in (1, 2):
            clock.now += 4.0
            changed = {**metrics, "eval/nll_oracle": 9.0 - 0.25 * (done - 1)}
            console.show(Progress(70 + done, "adversarial", done, 10, "", changed))
        console.say("evaluating")
        threading.Event().wait(0.6)  # at least two drawings
    screen.lines()
    seen = ESCAPE.sub("", screen.raw.decode())
    for part in (
        "adversarial",
        "2/10",
        "4.0s/step",
        "32s left",
        "8.750 (-0.250)",
        "nan",
        "0.7500",
        "evaluating",
    ):
        assert part in seen, part
    assert "eval/ at step 72" in seen
    assert "reward/mean" not in seen


def test_an_interrupted_stage_is_not_ticked(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    with pytest.raises(KeyboardInterrupt), terminal(monkeypatch), live(screen) as console:  # noqa: PT012
        console.show(Progress(1, "adversarial", 1, 2))
        console.say("evaluating")
        raise KeyboardInterrupt
    lines = screen.lines()
    assert [line[:14] for line in lines] == ["- evaluating 0", "- adversarial "]


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    with terminal(monkeypatch, NO_COLOR="1"), live(screen) as console:
        console.show(Progress(1, "adversarial", 1, 1))
    assert screen.lines()[0].startswith("✓ adversarial")
    styles = {code[1] for code in ESCAPE.finditer(screen.raw.decode()) if code[2] == "m"}
    assert styles <= {"0", "1", "2"}, "bold and dim at most"


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    with terminal(monkeypatch, TERM="dumb"), live(screen) as console:
        console.show(Progress(3, "adversarial", 1, 1))
    assert screen.lines() == ["adversarial 3 1/1"]
    assert b"\x1b" not in screen.raw


def test_a_reader_that_goes_away_does_not_end_the_run() -> None:
    read, write = os.pipe()
    stream = os.fdopen(write, "w", buffering=1)
    shown = 0
    with Console(stream=stream, result=io.StringIO()) as console:
        os.close(read)
        for progress in steps("adversarial", 5):
            console.show(progress)
            shown += 1
    with pytest.raises(BrokenPipeError):
        stream.close()
    assert shown == 5


def test_an_encoding_that_lacks_a_letter_keeps_the_width() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with Console(stream=stream, result=io.StringIO()) as console:
        console.say("reading 诗.txt")
    assert raw.getvalue() == b"reading ?.txt\n"


def test_the_result_is_not_cut() -> None:
    result, path = io.StringIO(), "/" + "long/" * 60
    table = Table("metric", "value")
    table.add_row("eval/nll_oracle", "8.700")
    with Console(stream=io.StringIO(), result=result) as console:
        console.conclude({}, table, Text(path, no_wrap=True, overflow="ignore"))
    assert "8.700" in result.getvalue()
    assert path in result.getvalue().splitlines()
