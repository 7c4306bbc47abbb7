"""The live display of a terminal: past stages as finished lines, below them what is under way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Event, RLock, Thread
from types import TracebackType
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.progress import SHOWN, StageProgress, duration, number, rollouts

_PAIR: Final = 38
"""Columns that a metric takes with its name, value and change."""

_REDRAWN: Final = 0.25
"""Seconds between two drawings; times go on while a step is long."""


class Terminal(Console):
    """rich moves the cursor up by what it drew last, then draws: two moves, and several threads print. One
    lock around both keeps a line from being drawn over."""

    def __init__(self, stream: TextIO) -> None:
        self._guard = RLock()
        super().__init__(file=stream, highlight=False, markup=False, emoji=False)

    def __enter__(self) -> Console:
        self._guard.acquire()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._guard.release()


class Display:
    """Draws the stage and the work under way until it is stopped; then only the finished lines stay.

    Attributes:
        stage: the stage under way, or None.
        doing: the work under way besides, and when it began; or None.
    """

    def __init__(self, terminal: Terminal, clock: Callable[[], float], *, redirect_stdout: bool) -> None:
        """
        Args:
            terminal: where to draw.
            clock: seconds that never go back.
            redirect_stdout: whether what others print on standard output appears above the display.
        """
        self.stage: StageProgress | None = None
        self.doing: tuple[str, float] | None = None
        self._rich, self._clock = terminal, clock
        self._unicode = terminal.encoding.startswith("utf")
        self._live = Live(
            get_renderable=self._render,
            console=terminal,
            transient=True,
            auto_refresh=False,
            redirect_stdout=redirect_stdout,
            redirect_stderr=terminal.file.fileno() == sys.__stderr__.fileno() if sys.__stderr__ else False,
        )
        self._stopped = Event()
        self._thread = Thread(target=self._redraw, name="display", daemon=True)

    def start(self) -> None:
        """Begins to draw."""
        with self._rich:
            self._live.start()
        self._thread.start()

    def stop(self) -> None:
        """Leaves the terminal with finished lines only, the cursor visible."""
        self._stopped.set()
        self._thread.join()
        with self._rich:
            self._live.stop()

    def print(self, text: Text) -> None:
        """A line that stays."""
        self._rich.print(text)

    def finish_doing(self, *, well: bool) -> None:
        """The work under way has ended: its line stays."""
        if self.doing is None:
            return
        (text, began), self.doing = self.doing, None
        line = Table.grid(padding=(0, 1))
        line.add_row(self._tick(well), text, Text(duration(self._clock() - began), "dim"))
        self._keep(line)

    def finish_stage(self, seconds: float) -> None:
        """The stage under way has ended after so long: its line stays, ticked if all of it was done."""
        if self.stage is None:
            return
        stage, self.stage = self.stage, None
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(width=1)
        line.add_column(width=23, no_wrap=True)
        line.add_column(width=9, no_wrap=True, justify="right")
        line.add_column(width=7, no_wrap=True, justify="right", style="dim")
        line.add_column(no_wrap=True, ratio=1)
        units = f"{stage.done}/{stage.total}"
        line.add_row(
            self._tick(stage.done >= stage.total), _label(stage), units, duration(seconds), _outcome(stage)
        )
        self._keep(line)

    def _keep(self, line: RenderableType) -> None:
        with self._rich:  # the region below must not show again what has just ended
            self._live.refresh()
            self._rich.print(line)

    def _redraw(self) -> None:
        while not self._stopped.wait(_REDRAWN):
            with self._rich:
                self._live.refresh()

    def _tick(self, well: bool) -> Text:
        return Text("✓" if self._unicode else "+", "green") if well else Text("-", "yellow")

    def _render(self) -> RenderableType:
        now, stage, doing = self._clock(), self.stage, self.doing
        parts: list[RenderableType] = []
        if stage is not None:
            parts += [_bar(stage, now), _numbers(stage, self._rich.width)]
            if made := rollouts(stage.latest):
                words = "   ".join(f"{name} {value}" for name, value in made.items())
                parts.append(Text(f"  {words}", "dim", no_wrap=True, overflow="ellipsis"))
        if doing is not None:
            text, began = doing
            line = Table.grid(padding=(0, 1))
            spinner = Spinner("dots" if self._unicode else "line", style="cyan")
            line.add_row(spinner.render(now), text, Text(duration(now - began), "dim"))
            parts.append(line)
        return Group(*parts)


def _bar(stage: StageProgress, now: float) -> RenderableType:
    line = Table.grid(padding=(0, 2, 0, 0), expand=True)
    line.add_column(no_wrap=True, style="bold")
    line.add_column(ratio=1)
    line.add_column(no_wrap=True, justify="right")
    line.add_column(no_wrap=True, justify="right", style="dim")
    line.add_column(no_wrap=True, justify="right")
    left = stage.pace.left(stage.total, now)
    line.add_row(
        _label(stage),
        ProgressBar(
            total=max(1, stage.total), completed=stage.done, complete_style="cyan", finished_style="green"
        ),
        f"{stage.done}/{stage.total}",
        _speed(stage),
        "" if left is None else f"{duration(left)} left",
    )
    return line


def _numbers(stage: StageProgress, width: int) -> RenderableType:
    """Latest values of the main metrics, in as many columns as fit, and what became of them in the stage."""
    names = [name for name in SHOWN if name in stage.latest]
    across = max(1, min(len(names), width // _PAIR))
    rows = -(-len(names) // across)
    grid = Table.grid(padding=(0, 1))
    for _ in range(across):
        grid.add_column(min_width=20, no_wrap=True, style="dim")
        grid.add_column(min_width=6, no_wrap=True, justify="right")
        grid.add_column(min_width=8, no_wrap=True, style="dim")
    for row in range(rows):
        cells: list[str] = []
        for name in names[row::rows]:
            cells += ["  " + name, number(stage.latest[name]), _change(stage, name)]
        grid.add_row(*cells)
    if stage.evaluated is None:
        return grid
    note = f"  eval/ at step {stage.evaluated}; in brackets the change since the stage began"
    return Group(grid, Text(note, "dim", no_wrap=True, overflow="ellipsis"))


def _label(stage: StageProgress) -> str:
    return (stage.branch or stage.name).replace("_", " ")


def _speed(stage: StageProgress) -> str:
    rate = stage.pace.rate
    if rate is None:
        return ""
    return f"{rate:.1f} {stage.unit}s/s" if rate >= 1 else f"{duration(1 / rate)}/{stage.unit}"


def _change(stage: StageProgress, name: str) -> str:
    change = stage.latest[name] - stage.first[name]
    return f"({change:+.3f})" if abs(change) >= 5e-4 else ""


def _outcome(stage: StageProgress) -> str:
    """The few numbers that a finished stage is remembered by."""
    held = stage.latest
    if stage.name == "pretrain_discriminator" and "d/accuracy_real" in held and "d/accuracy_fake" in held:
        real, fake = number(held["d/accuracy_real"]), number(held["d/accuracy_fake"])
        return f"d/accuracy real {real} fake {fake}"
    names = [name for name in ("eval/nll_oracle", "eval/nll_test") if name in held]
    names = names or [name for name in ("loss/generator", "loss/discriminator") if name in held]
    return "  ".join(f"{name.removeprefix('eval/')} {number(held[name])}" for name in names)
