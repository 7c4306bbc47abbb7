"""What a run has to tell its tracking store besides numbers, kept on disk until it has arrived.

Texts, files, tags and data sets are put in here by the training thread, which never waits, and taken out
by the thread that talks to the store. Every operation may safely be done twice, so the file only grows,
and is deleted when nothing is left.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

OUTBOX = "tracking_pending.jsonl"
"""The name of the file in the run directory, there only while something is undelivered."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One thing to tell the store. Paths of files inside the run directory are relative to it."""

    kind: Literal["text", "file", "tags", "dataset"]
    arguments: dict[str, Any]

    @property
    def is_artifact(self) -> bool:
        """Whether it goes to the artifact store, which may be down while the tracking server is not."""
        return self.kind in ("text", "file")


class Outbox:
    """A queue of operations that survives the process; one per run directory."""

    def __init__(self, run_directory: Path) -> None:
        self.path = run_directory / OUTBOX
        self._lock = threading.Lock()
        self._operations: list[Operation] = []
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, TypeError):  # a line that a crash tore
                    self._operations.append(Operation(**json.loads(line)))

    def put(self, operation: Operation) -> None:
        """Add one operation. Never raises: on a full disk it is kept in memory alone."""
        with self._lock:
            self._operations.append(operation)
            with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
                # The newline comes first, so that a line which a crash tore does not spoil the next one.
                file.write("\n" + json.dumps(asdict(operation)))

    def pending(self) -> list[Operation]:
        """What has not arrived yet, oldest first."""
        with self._lock:
            return list(self._operations)

    def remove(self, operation: Operation) -> None:
        """Forget an operation that has arrived, or that never can."""
        with self._lock:
            self._operations.remove(operation)
            if not self._operations:
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)


class Recorder:
    """The recording half of a tracker: everything here returns at once and never raises."""

    def __init__(self, run_directory: Path, outbox: Outbox | None) -> None:
        self._run_directory = run_directory.absolute()
        self._outbox = outbox

    def log_text(self, text: str, artifact_path: str) -> None:
        """Store a text as the artifact file ``artifact_path``, such as ``samples/step_000123.txt``."""
        self._put(Operation("text", {"text": text, "artifact_path": artifact_path}))

    def log_file(self, path: Path, artifact_path: str = "") -> None:
        """Store a file, under its own name, in the artifact folder ``artifact_path`` (empty: the top one).

        It is read later, by another thread, so it has to stay.
        """
        path = path.absolute()
        if path.is_relative_to(self._run_directory):
            path = path.relative_to(self._run_directory)
        self._put(Operation("file", {"path": str(path), "artifact_path": artifact_path}))

    def log_figure_file(self, path: Path) -> None:
        """Store a picture in the artifact folder ``figures``."""
        self.log_file(path, "figures")

    def log_dataset(
        self,
        name: str,
        digest: str,
        source: Path | str,
        profile: Mapping[str, int | float | str],
        context: str = "training",
    ) -> None:
        """Name the data that the run learns from.

        ``digest`` tells versions of it apart (cut to 36 characters). ``source`` is the file that it came
        from, or, as a plain string, what generated it. ``profile`` holds sizes to show beside it.
        """
        if isinstance(source, Path):
            where = {"source_type": "local", "source": json.dumps({"uri": str(source.absolute())})}
        else:
            where = {"source_type": "code", "source": json.dumps({"tags": {"mlflow.source.name": source}})}
        facts = {
            "name": name,
            "digest": digest[:36],
            "profile": json.dumps(dict(profile)),
            "context": context,
        }
        self._put(Operation("dataset", {**facts, **where}))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags of the run."""
        self._put(Operation("tags", {name: str(value) for name, value in tags.items()}))

    def _put(self, operation: Operation) -> None:
        if self._outbox is not None:
            self._outbox.put(operation)


class NoTracker(Recorder):
    """The tracker of a run that MLflow is not told about.

    Given a run directory (the store could not be reached), it keeps what is recorded for the tracker that
    is opened there next time; without one (tracking is off) it forgets everything.
    """

    run_id: str | None = None
    experiment_id: str | None = None
    error: str | None = None
    refused: Sequence[str] = ()
    non_finite = 0

    def __init__(self, run_directory: Path | None = None) -> None:
        directory = run_directory or Path()
        super().__init__(directory, None if run_directory is None else Outbox(directory))

    def log_sampler(self, model_dir: Path) -> str | None:
        """Log nothing: there is no store."""
        return None

    def rewind(self) -> None:
        """Nobody follows the journal."""

    def close(self, status: Literal["FINISHED", "FAILED", "KILLED"], timeout: float = 30.0) -> bool:
        """True if nothing waits for a store."""
        return self._outbox is None or not self._outbox.pending()
