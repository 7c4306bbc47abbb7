"""What a person sees while training runs: a live display on a terminal, one plain line a step elsewhere.

Everything about the way goes to standard error; standard output is left to the result. The console is
a consumer of ``Progress``: it measures nothing itself but time, and its failure never ends a run.
"""

from __future__ import annotations

import io
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stdout, suppress
from types import TracebackType
from typing import Any, TextIO, cast

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.text import Text

from orchestrator.display import Display, Terminal
from orchestrator.progress import Progress, StageProgress, plain_line


class Console:
    """Shows a run while it goes on, and its result at the end. A context manager.

    On a terminal that can move its cursor the display is live; in a pipe, a file or a dumb terminal every
    step is one line (``plain_line``), without colours.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        as_json: bool = False,
        stream: TextIO | None = None,
        result: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            quiet: only warnings and the result.
            as_json: the result is one JSON document; nothing else reaches standard output, whoever prints.
            stream: where the way is shown; standard error.
            result: where the result is printed; standard output.
            clock: seconds that never go back.
        """
        self._quiet, self._json, self._clock = quiet, as_json, clock
        self._stream, self._result = cast(TextIO, _Lasting(stream or sys.stderr)), result or sys.stdout
        self._display: Display | None = None
        terminal = Terminal(self._stream)
        if self._stream.isatty() and not terminal.is_dumb_terminal and not quiet:
            shared = self._result.isatty() and not as_json
            self._display = Display(terminal, clock, redirect_stdout=shared)
        self._stage: StageProgress | None = None
        self._start: Mapping[str, float] = {}
        self._mark = clock()
        self._stack = ExitStack()

    def __enter__(self) -> Console:
        self._mark = self._clock()
        if self._display is not None:
            self._display.start()
        if self._json:  # only now: sys.stderr draws above the display
            self._stack.enter_context(redirect_stdout(sys.stderr))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._close(well=kind is None)

    def show(self, progress: Progress) -> None:
        """A unit of work is done. Its time counts from the event before it."""
        now, stage = self._clock(), self._stage
        if self._display is not None:
            self._display.finish_doing(well=True)
        if stage is None or (stage.name, stage.branch) != (progress.stage, progress.branch):
            stage = self._enter(progress, now)
        stage.add(progress, now)
        self._mark = now
        if self._display is None:
            self._plain(plain_line(progress, stage.pace))

    def say(self, text: str) -> None:
        """What takes time from now until the next event."""
        if self._display is not None and self._stage is not None and self._stage.done >= self._stage.total:
            self._end_stage(self._display)  # what follows a finished stage stands below it
        self._mark = self._clock()
        if self._display is None:
            self._plain(text)
            return
        self._display.finish_doing(well=True)
        self._display.doing = (text, self._mark)

    def warn(self, text: str) -> None:
        """What a person must know even where everything else is silent."""
        if self._display is not None:
            self._display.print(Text.assemble(("warning: ", "bold yellow"), text))
        else:
            self._stream.write(f"warning: {text}\n")
            self._stream.flush()

    def conclude(self, document: Mapping[str, Any], *shown: RenderableType) -> None:
        """The result, on standard output: the document as JSON, or else what is shown to people."""
        self._close(well=True)
        if self._json:
            self._result.write(json.dumps(_finite(document), indent=2) + "\n")
        else:
            rich = RichConsole(file=self._result, highlight=False, markup=False, emoji=False)
            for part in shown:  # a path that must not wrap stays whole, so that it can be copied
                rich.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))
        self._result.flush()

    def _enter(self, progress: Progress, now: float) -> StageProgress:
        """A stage begins; what is known of the generator that it starts from is known of it too."""
        before = self._start if progress.branch else self._stage.evaluation() if self._stage else {}
        if progress.stage == "adversarial" and not progress.branch:
            self._start = before
        worked = progress.metrics.get("time/step", math.inf)  # what was set up before is not its pace
        stage = StageProgress(progress, max(self._mark, now - worked), before)
        if self._display is not None:
            self._end_stage(self._display)
            self._display.stage = stage
        self._stage = stage
        return stage

    def _plain(self, line: str) -> None:
        if not self._quiet:
            self._stream.write(line + "\n")
            self._stream.flush()

    def _close(self, *, well: bool) -> None:
        if self._display is not None:
            self._display.finish_doing(well=well)
            self._end_stage(self._display)
            self._display.stop()
            self._display = None

    def _end_stage(self, display: Display) -> None:
        if self._stage is not None:
            display.finish_stage(self._mark - self._stage.pace.began)


def _finite(value: Any) -> Any:
    """JSON has no NaN: null stands for what is not a number."""
    if isinstance(value, Mapping):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Lasting(io.TextIOBase):
    """A text stream whose reader may go away: a closed pipe or a full disk ends the display, not the run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return (self._stream.encoding or "utf-8").lower()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        if not self.encoding.startswith(
            "utf"
        ):  # one column for each that is missing, so that lines still fit
            text = text.encode(self.encoding, "replace").decode(self.encoding)
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()
