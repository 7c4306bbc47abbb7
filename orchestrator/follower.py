"""A thread that brings what a run directory says to a store that may be slow, down or half broken.

It follows the journal and empties the outbox, in order and each thing once. Whoever writes those two
never waits for it.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from orchestrator.journal import Journal
from orchestrator.outbox import Operation, Outbox
from orchestrator.passwords import hidden

_POLL_S = 1.0
_LONGEST_PAUSE_S = 15.0
_VALUES_A_CALL = 500


class Value(NamedTuple):
    """One number of a run."""

    name: str
    value: float
    time: int
    """Milliseconds since the epoch."""
    step: int


class RefusedError(Exception):
    """The store will never take this."""


class Store(Protocol):
    """What the follower needs of a store. Every method may raise; then it is called again later."""

    def send_values(self, values: Sequence[Value]) -> None:
        """Store numbers; those that are there already are not stored twice."""

    def send(self, operation: Operation) -> None:
        """Store a text, a file, tags or a data set; RefusedError if it never can be."""

    def end(self, status: str) -> None:
        """Set the final status of the run."""


class Follower:
    """The thread, and what is known about its progress. It starts at once and is ended by ``close``."""

    def __init__(self, store: Store, journal: Journal, outbox: Outbox, held: dict[str, int]) -> None:
        """``held``: the highest step that the store holds, by metric. The steps of one metric never fall in a
        journal (an evaluation may be written late, but all are late in order), so everything up to it is
        there."""
        self.error: str | None = None
        self.refused: list[str] = []
        self.non_finite = 0
        self._store = store
        self._journal = journal
        self._outbox = outbox
        self._held = held
        self._offset = 0
        self._status = ""
        self._deadline = math.inf
        self._stop, self._rewound = threading.Event(), threading.Event()
        self._complete = False
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def close(self, status: str, timeout: float) -> bool:
        """Send what is left, then the status; True if everything arrived within ``timeout`` seconds."""
        if not self._stop.is_set():
            self._status, self._deadline = status, time.monotonic() + timeout
            self._stop.set()
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        return self._complete and not self.refused

    def _run(self) -> None:
        pause = _POLL_S
        while not self._complete:
            stopping = self._stop.is_set()
            try:
                self._send_values()
                self._send_operations()
                if stopping:
                    self._send_end()
                    self._complete = True
                self.error, pause = None, _POLL_S
            except Exception as error:  # whatever a store raises, it is tried again
                self.error, pause = in_words(error), min(2 * pause, _LONGEST_PAUSE_S)
            if not stopping:
                self._stop.wait(pause)
            elif not self._complete:
                if time.monotonic() + _POLL_S >= self._deadline:
                    with contextlib.suppress(Exception):  # the artifact store alone may be down
                        self._send_end()
                    return
                time.sleep(_POLL_S)

    def rewind(self) -> None:
        """The journal was cut back, and may have grown again meanwhile: it is read from its beginning."""
        self._rewound.set()

    def _send_values(self) -> None:
        if self._rewound.is_set() or self._journal.offset < self._offset:
            self._rewound.clear()  # what is held says where to go on
            self._offset = 0
        batch: list[Value] = []
        highest = dict(self._held)
        skipped = 0
        end = self._offset
        for record in self._journal.read(self._offset):
            end = record.end
            for name, value in record.metrics.items():
                if record.step <= highest.get(name, -1):
                    continue
                highest[name] = record.step
                if math.isfinite(value):
                    batch.append(Value(name, value, record.time, record.step))
                else:
                    skipped += 1
            if len(batch) >= _VALUES_A_CALL:
                self._send_batch(batch, end, skipped)
                batch, skipped = [], 0
        if end > self._offset:
            self._send_batch(batch, end, skipped)

    def _send_batch(self, batch: list[Value], end: int, skipped: int) -> None:
        if batch:
            self._store.send_values(batch)
        self._held |= {value.name: value.step for value in batch}
        self._offset = end
        self.non_finite += skipped

    def _send_operations(self) -> None:
        failed: dict[bool, Exception] = {}  # artifacts and the rest may go to different places
        for operation in self._outbox.pending():
            if operation.is_artifact in failed:
                continue
            try:
                self._store.send(operation)
            except RefusedError as error:
                self.refused.append(str(error))
            except Exception as error:  # it stays in the outbox
                failed[operation.is_artifact] = error
                continue
            self._outbox.remove(operation)
        for failure in failed.values():
            raise failure

    def _send_end(self) -> None:
        if self.non_finite:
            self._store.send(Operation("tags", {"non_finite_values": str(self.non_finite)}))
        self._store.end(self._status)


def in_words(error: BaseException) -> str:
    """The first line of an error, or its type where it says nothing, at most 300 characters, without
    passwords: MLflow writes addresses with all that is in them."""
    return hidden(str(error).strip().partition("\n")[0] or type(error).__name__)[:300]
