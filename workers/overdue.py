"""Where every thread of a process stands, written down when something takes longer than it may.

Whoever waits for this process sees only that it does not answer, and kills it in the end; so it watches
itself, and leaves a file before that.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

EARLIER: Final = 0.9
"""Of the time that others give it, what a process gives itself before it writes."""


def nothing() -> None:
    """Done when nothing is to be done besides."""


class Overdue:
    """One thread that sleeps while everything is in time."""

    def __init__(self, folder: Path | None, role: str, then: Callable[[], None] = nothing) -> None:
        """
        Args:
            folder: gets a file for each thing that is overdue; None: nothing is written.
            role: what this process is; the file is named after it.
            then: what else is done, in the thread that watches.
        """
        self._folder, self._role, self._then = folder, role, then
        self._changed = threading.Condition()
        self._until: float | None = None
        self._closed = False
        self._watched = threading.get_ident()
        self._written = 0
        threading.Thread(target=self._watch, name="overdue", daemon=True).start()

    @contextmanager
    def after(self, seconds: float) -> Iterator[None]:
        """While it is entered, ``seconds`` may pass."""
        self.expect(seconds)
        try:
            yield
        finally:
            self.expect(None)

    def expect(self, seconds: float | None) -> None:
        """From now on so many seconds may pass, or any number, until this is called again."""
        with self._changed:
            self._watched = threading.get_ident()
            self._until = None if seconds is None else time.monotonic() + seconds
            self._changed.notify()

    def close(self) -> None:
        """Nothing is expected ever again, and the thread ends."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (self._until is None or self._until > time.monotonic()):
                    self._changed.wait(None if self._until is None else self._until - time.monotonic())
                if self._closed:
                    return
                self._until = None
            self._write()
            self._then()

    def _write(self) -> None:
        if self._folder is None:
            return
        with suppress(OSError):  # the disk may be what everyone waits for
            self._folder.mkdir(parents=True, exist_ok=True)
            self._written += 1
            name = f"{self._role.replace(' ', '_')}-{os.getpid()}-{self._written}.txt"
            with (self._folder / name).open("w") as file:
                file.write(
                    f"the {self._role}, process {os.getpid()}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n\n"
                )
                # faulthandler writes a hundred threads at most: the one that matters comes first
                frame = sys._current_frames().get(self._watched)
                file.writelines(traceback.format_stack(frame) if frame is not None else ())
                file.write("\nall threads:\n")
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
