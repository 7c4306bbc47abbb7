"""What surrounds Ray in this process and on this machine: settings, signals, folder, what it leaves.

Nothing here imports Ray, since most of it has to happen before that.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil


class CannotReach(Exception):
    """No cluster could be started or joined."""


_SETTINGS: Final = {
    "RAY_AUTH_MODE": "token",
    "RAY_SCHEDULER_EVENTS": "0",  # no advice in the log about what waits
    "RAY_USAGE_STATS_ENABLED": "0",
}
_OF_OUR_OWN: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # every listener on loopback; no second machine could join
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # on SIGTERM while it starts
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # actors use this interpreter as it is
}
_LONGEST_BASE: Final = 24
"""A socket's path has 107 characters, of which Ray takes about 66 and the name of our folder 16."""
_GRACE_S: Final = 5.0
"""How long processes may take to end by themselves."""

_log = logging.getLogger(__name__)


def settle(*, own: bool) -> None:
    """Sets what Ray reads while it is imported; what the user has set stays. Later it has no effect.

    Args:
        own: for a cluster of our own on this machine, never for one that is joined.
    """
    settings = _SETTINGS | (_OF_OUR_OWN if own else {})
    if "ray" not in sys.modules:
        for name, value in settings.items():
            os.environ.setdefault(name, value)
    elif own and os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") != "0":
        _log.warning("Ray was imported before it was configured: it will listen on every network interface")


@contextmanager
def undisturbed() -> Iterator[None]:
    """While Ray starts: signal handlers are put back after it, and its processes may keep compiled imports.

    Ctrl-C needs no care: Ray blocks SIGINT in every process that it starts.
    """
    uncompiled = os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each actor compiles torch's sources
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    terminated = False
    try:
        yield
    except SystemExit:  # Ray's own handler: SIGTERM came in the meantime
        terminated = True
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        if uncompiled is not None:
            os.environ["PYTHONDONTWRITEBYTECODE"] = uncompiled
    if terminated:
        signal.raise_signal(signal.SIGTERM)
        raise SystemExit(128 + signal.SIGTERM)


def make_directory() -> Path:
    """A folder for Ray's sockets and logs, with a path that is short enough."""
    base = tempfile.gettempdir()
    if len(base) > _LONGEST_BASE and Path("/tmp").is_dir():
        base = "/tmp"
    return Path(tempfile.mkdtemp(prefix="advseq-", dir=base))


def protect_token() -> None:
    """Ray writes its token readable for all; only its owner needs it."""
    token = Path.home() / ".ray" / "auth_token"
    with suppress(OSError):  # there is none, or it is somebody else's
        if token.stat().st_mode & 0o077:
            token.chmod(0o600)


def cannot_start(problem: BaseException) -> CannotReach:
    """What to look at when no cluster could be started here."""
    return CannotReach(
        f"Ray could not be started on this machine: {_first_line(problem)}. Look at free memory, and at the "
        "token if RAY_AUTH_TOKEN_PATH names one; or train without Ray: --workers 0"
    )


def cannot_join(address: str, problem: BaseException | str) -> CannotReach:
    """What to look at when a cluster could not be joined."""
    why = problem if isinstance(problem, str) else _first_line(problem)
    mode = os.environ.get("RAY_AUTH_MODE", "not set")
    return CannotReach(
        f"could not join the Ray cluster at {address}: {why}. Look at the address (`ray status` on a node of "
        f"it), at RAY_AUTH_MODE ({mode}; it must be the cluster's), and at the token, which must be the "
        "cluster's, too (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or .ray/auth_token in the home folder); this "
        "machine must be a node of it"
    )


def refusal(address: str) -> str | None:
    """Why an address is of no use, before Ray is asked; None where Ray has to find out."""
    if address.startswith("ray://"):
        return "that is an address of Ray Client; wanted is HOST:PORT, on a node of it, or a submitted job"
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return None
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_GRACE_S).close()
    except (OSError, OverflowError) as problem:
        return f"nothing answers there ({problem})"
    return None


def processes_of(directory: Path) -> list[psutil.Process]:
    """Ray's processes that this process started in the folder, and all that they started."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if any(str(directory) in word for word in child.cmdline()):
                found += [child, *child.children(recursive=True)]
    return found


def end(processes: list[psutil.Process], *, grace_s: float = _GRACE_S) -> None:
    """Waits until they are gone, and kills those that stay."""
    _, alive = psutil.wait_procs(processes, timeout=grace_s)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=_GRACE_S)


def remove(directory: Path) -> None:
    """Removes the folder; what cannot be removed stays."""
    shutil.rmtree(directory, ignore_errors=True)


def _first_line(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0].rstrip('.')}" if lines else type(problem).__name__
