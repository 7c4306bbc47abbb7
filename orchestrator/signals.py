"""Ctrl-C and SIGTERM: the first asks for a commit and an end, the second ends at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


class Signals:
    """While it is entered, signals are turned into requests; it gives the list of those received."""

    def __init__(
        self, stop: Callable[[], None], say: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        self._stop, self._say, self._warn = stop, say, warn
        self._received: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> list[int]:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self._received

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._received:
            self._warn("stopped at once; the last commit stays, and `advseq resume` continues from it")
            sys.exit(128 + number)
        self._received.append(number)
        self._say("finishing the step under way and committing it; once more to stop at once")
        self._stop()
