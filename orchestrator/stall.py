"""A run that makes no progress any more ends, with the place where it stands and an exit code.

The limit is the last one: units, steps and calls to actors have deadlines of their own, all of them shorter.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator.errors import ResumableError
from workers.overdue import Overdue

GRACE_S: Final = 10.0
"""For the thread that trains to notice, before the process is ended from outside of it."""


class StallError(ResumableError):
    """Nothing has been finished for longer than run.stall_s."""

    def __init__(self) -> None:
        super().__init__(
            "the run has stalled: nothing was finished within run.stall_s. What was committed is intact: "
            "look at the stacks in its newest folder under attempts/, then `advseq resume` continues"
        )


class StallWatch:
    """Raises ``StallError`` in the thread that made it, when ``progressed`` is not called for too long."""

    def __init__(self, seconds: float, stacks: Path, *, ended: Callable[[str], None] | None = None) -> None:
        """
        Args:
            seconds: between two calls of ``progressed``.
            stacks: a folder that gets a file with the stacks of all threads.
            ended: what to do before the process is ended where the thread does not notice, since it waits
                inside of a library; None: it is not ended then.
        """
        self._seconds, self._ended = seconds, ended
        self._thread, self._left = threading.get_ident(), threading.Event()
        self._overdue = Overdue(stacks, "controller", self._stalled)

    def progressed(self) -> None:
        """The time counts from now on."""
        self._overdue.expect(self._seconds)

    def pause(self) -> None:
        """Nothing is expected until ``progressed`` is called again."""
        self._overdue.expect(None)

    def close(self) -> None:
        """Nothing is expected any more."""
        self._left.set()
        self._overdue.close()

    def _stalled(self) -> None:
        error = StallError()
        if not self._left.is_set():
            # the only way to reach a thread that runs Python code, or waits in short pieces
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread), ctypes.py_object(StallError)
            )
        if not self._left.wait(GRACE_S) and self._ended is not None:
            self._ended(str(error))
            os._exit(error.exit_code)
