"""Where the tracking store is, how MLflow is set up for it, and what it takes. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import getpass
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from filelock import FileLock

from orchestrator.dotted import flatten as dotted
from orchestrator.errors import AdvseqError
from orchestrator.follower import in_words
from orchestrator.passwords import hidden

if TYPE_CHECKING:
    from orchestrator.config import TrackingConfig

T = TypeVar("T")

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run ended, in MLflow's words."""

CONNECT_S = 60.0
"""Longest wait for a store to answer, or for another process that creates it."""

VALUES_A_CALL = 1000
PARAMS_A_CALL = 100
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 5000

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # MLflow's own defaults keep one call to a dead server waiting for four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class TrackingUnavailable(AdvseqError):
    """The tracking store cannot be used now."""

    exit_code = 75


def environment() -> dict[str, str]:
    """MLflow's settings: telemetry off, short waits, no chatter; what the user has set stands."""
    return {name: os.environ.get(name, value) for name, value in _SETTINGS.items()}


def store_uri(config: TrackingConfig, runs_root: Path) -> str:
    """The store of a run: ``tracking.uri``, else MLFLOW_TRACKING_URI, else ``mlflow.db`` beside the runs."""
    local = f"sqlite:///{runs_root.absolute() / 'mlflow.db'}"
    return config.uri or os.environ.get("MLFLOW_TRACKING_URI") or local


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite store; None for any other store."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def artifact_root(runs_root: Path) -> Path:
    """Where artifacts of the embedded store lie."""
    return runs_root.absolute() / "mlartifacts"


def flatten(tree: Mapping[str, Any]) -> dict[str, str]:
    """A configuration as MLflow params: dotted keys, plain values (numbers stay numbers); None is left out.

    >>> flatten({"a": {"lr": 0.1 + 0.2, "on": True}, "b": None, "c": [1, 2]})
    {'a.lr': '0.3', 'a.on': 'true', 'c': '1,2'}
    """
    plain = {key: _plain(value) for key, value in dotted(tree).items() if value is not None}
    return {key: value[:PARAM_CHARACTERS] for key, value in plain.items()}


def run_tags(tags: Mapping[str, str], parent_run_id: str | None) -> dict[str, str]:
    """The tags of a run: those given, cut to what MLflow takes, and who ran what under which run."""
    own = {"mlflow.source.name": "advseq"}
    with contextlib.suppress(KeyError, OSError):  # a user without a name, as in containers
        own["mlflow.user"] = getpass.getuser()
    if parent_run_id is not None:
        own["mlflow.parentRunId"] = parent_run_id
    return own | {name: str(value)[:TAG_CHARACTERS] for name, value in tags.items()}


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call that offers no time limit of its own; TimeoutError if it is not there in time."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised again below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, name="tracking store", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer in {seconds:.0f} s")
    return results[0]


@contextlib.contextmanager
def reported(uri: str) -> Iterator[None]:
    """Turn whatever a store, its driver or its disk raises into one explained error."""
    try:
        yield
    except AdvseqError:
        raise
    except Exception as error:  # drivers, SQLAlchemy, HTTP: each has its own kinds
        raise TrackingUnavailable(
            f"the tracking store {hidden(uri)} cannot be used: {in_words(error)}. "
            "Start it, set tracking.uri, or train with tracking.enabled=false."
        ) from error


@contextlib.contextmanager
def sqlite_ready(uri: str) -> Iterator[None]:
    """Hold the lock of an SQLite store and know that its file opens; nothing for other stores.

    Two processes that create the tables of one file at the same time both fail.
    """
    database = sqlite_path(uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=CONNECT_S):
        # MLflow goes on for minutes trying to open a database that it cannot; SQLite says so at once.
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
        yield


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.12g}"  # 0.30000000000000004 would be an axis label of its own
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(_plain(item) for item in value)
    return str(value)
