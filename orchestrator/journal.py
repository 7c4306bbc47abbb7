"""``metrics.jsonl``: every number of a run, one JSON object a line, the truth that MLflow only mirrors.

A line is ``{"time": <ms since epoch>, "step": 12, "stage": "adversarial", "metrics": {"loss/g": 1.5}}``.
It is written by one process and may be read by others meanwhile. A line counts once its newline is
there; what a killed writer left behind the last newline is no record and is removed by the next write.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import ResumableError

_NAME = re.compile(r"[\w\-./: ]{1,250}", re.ASCII)
"""The names that MLflow takes."""

_TAIL = 65_536
"""Bytes looked at together when searching backwards for the last newline."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line: what was measured at one step."""

    time: int
    """Milliseconds since the epoch."""
    step: int
    stage: str
    metrics: dict[str, float]
    end: int
    """Byte offset behind the line: where the next record begins."""


class Journal:
    """The records of one run, appended and read by byte offset."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = False  # whether this writer has made sure that the file ends with a newline

    @property
    def offset(self) -> int:
        """Bytes up to the end of the last whole record; 0 where there is no file."""
        try:
            with self.path.open("rb") as file:
                return _end_of_last_line(file.fileno())
        except FileNotFoundError:
            return 0

    def append(self, step: int, stage: str, metrics: Mapping[str, float]) -> None:
        """Write one record and hand it to the operating system: a killed process does not lose it.

        NaN and the infinities are written as the strings "NaN", "Infinity" and "-Infinity", since JSON
        has no numbers for them. A disk that refuses (full, gone) is a ``ResumableError``; a name that is
        more than letters, digits, ``_ - . / :`` and blanks is a ``ValueError``.
        """
        for name in metrics:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"metric name {name!r}: wanted 1 to 250 letters, digits, _ - . / : and blanks"
                )
        data = _line(step, stage, metrics, time.time_ns() // 1_000_000)
        try:
            if not self._whole:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if self.path.exists():
                    self.truncate(self.path.stat().st_size)
                self._whole = True
            with self.path.open("ab", buffering=0) as file:
                if file.write(data) != len(data):
                    raise OSError("the disk took only a part of the record")
        except OSError as error:
            self._whole = False
            raise ResumableError(
                f"cannot write metrics to {self.path}: {error}. Make room, then resume."
            ) from error

    def sync(self) -> int:
        """Force the records to the disk and return their ``offset``, to be kept in a checkpoint."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            return _end_of_last_line(file.fileno())

    def truncate(self, offset: int, kept: Sequence[Record] = ()) -> None:
        """Forget what lies behind ``offset`` bytes, and a line that the cut or a crash left without its end.

        A file that is shorter already keeps what it has: metrics that a crash of the machine took cannot
        be won back, and are no reason not to go on.

        Args:
            kept: records from behind the cut that stay all the same; then the file is replaced as a whole,
                so that a crash meanwhile loses none of them.
        """
        if offset < 0:
            raise ValueError(f"an offset is at least 0, got {offset}")
        if not self.path.exists():
            return
        if kept:
            draft = self.path.with_name(f".{self.path.name}.draft")
            with self.path.open("rb") as whole, draft.open("wb") as file:
                begins = [record.end for record in self.read() if record.end <= offset]
                file.write(whole.read(max(begins, default=0)))
                file.writelines(_line(r.step, r.stage, r.metrics, r.time) for r in kept)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
            return
        with self.path.open("rb+") as file:
            if offset < os.fstat(file.fileno()).st_size:
                file.truncate(offset)
            file.truncate(_end_of_last_line(file.fileno()))

    def read(self, from_offset: int = 0) -> Iterator[Record]:
        """Yield the whole records from a byte offset on (0, or some record's ``end``).

        Stops before a last line that has no newline yet. A line that is no record raises
        ``ResumableError`` naming its place. No file: no records.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(from_offset)
            end = from_offset
            for line in file:
                if not line.endswith(b"\n"):
                    return
                start, end = end, end + len(line)
                try:
                    fields = json.loads(line)
                    yield Record(
                        time=int(fields["time"]),
                        step=int(fields["step"]),
                        stage=str(fields["stage"]),
                        metrics={str(name): float(value) for name, value in fields["metrics"].items()},
                        end=end,
                    )
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise ResumableError(
                        f"{self.path}: the line at byte {start} is not a metrics record ({error}). "
                        "Remove that line to go on without it."
                    ) from error


def evaluates(record: Record) -> bool:
    """Whether a record holds an evaluation."""
    return "eval/unique_rate" in record.metrics


def start_step(records: Iterable[Record]) -> int:
    """The step at which the adversarial stage begins, as far as the run has come."""
    return max((record.step for record in records if record.stage != "adversarial"), default=0)


def by_step(records: Iterable[Record]) -> list[Record]:
    """One record for every step, in order: what was measured at it, at once or later."""
    merged: dict[int, Record] = {}
    for record in records:
        before = merged.get(record.step)
        if before is not None:
            record = replace(record, metrics={**before.metrics, **record.metrics}, time=before.time)
        merged[record.step] = record
    return [merged[step] for step in sorted(merged)]


def _line(step: int, stage: str, metrics: Mapping[str, float], milliseconds: int) -> bytes:
    tree = {
        "time": milliseconds,
        "step": step,
        "stage": stage,
        "metrics": {name: _to_json(value) for name, value in metrics.items()},
    }
    return json.dumps(tree, allow_nan=False).encode() + b"\n"


def _to_json(value: float) -> float | str:
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _end_of_last_line(descriptor: int) -> int:
    """The offset behind the last newline of an open file; 0 where there is none."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _TAIL)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
