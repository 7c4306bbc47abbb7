"""What surrounds Ray in this process and on this machine: settings, signals, folder, what it leaves.

Nothing here imports Ray, since most of it has to happen before that.
"""

from __future__ import annotations

import fcntl
import logging
import math
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
from typing import Any, Final

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
_PREFIX, _OWNER = "advseq-", "owner"
_locks: dict[Path, int] = {}
"""Open files that mark the folders of this process; closing one gives up its lock."""
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


@contextmanager
def apart(services: Any) -> Iterator[None]:
    """While Ray starts: each of its processes gets a session of its own.

    Then a signal to the process group (GNU timeout, a shell, a terminal that closes) ends the work in order,
    with its actors still there; Ray's processes end with the one that started them all the same, for the
    kernel sees to that.

    Args:
        services: the module of Ray that starts processes; it offers no setting for this.
    """
    plain: Any = services.ConsolePopen

    class Apart(plain):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs, start_new_session=True)

    services.ConsolePopen = Apart
    try:
        yield
    finally:
        services.ConsolePopen = plain


def print_deaths(worker: Any, yes: bool) -> None:
    """Whether Ray prints every death on standard output, which belongs to the program; it has no setting.

    Args:
        worker: the module of Ray that prints.
    """
    worker._worker_logs_enabled = yes


def _base() -> Path:
    base = tempfile.gettempdir()
    return Path("/tmp" if len(base) > _LONGEST_BASE and Path("/tmp").is_dir() else base)


def make_directory(*, keep: bool = False) -> Path:
    """A folder for Ray's sockets and logs, with a path that is short enough.

    It holds a file with this process's id, which is locked as long as the process lives: so others can tell
    that it is in use, whatever the clock or the container.

    Args:
        keep: nobody may remove it later; it has no such file.
    """
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_base()))
    if not keep:
        new = directory / f"{_OWNER}.new"
        descriptor = os.open(new, os.O_CREAT | os.O_RDWR, 0o600)  # closed in programs that are started
        os.write(descriptor, f"{os.getpid()}\n".encode())
        with suppress(OSError):  # a file system without locks: then nobody can lock it, or removes it
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _locks[directory] = descriptor
        new.rename(directory / _OWNER)  # nobody sees it unlocked
    return directory


def remove_abandoned() -> None:
    """Removes this user's folders whose owner was killed, and could not remove them itself."""
    for directory in _base().glob(f"{_PREFIX}*"):
        with suppress(OSError):  # there is no such file, it is locked, or somebody else is faster
            if directory.is_symlink() or directory.stat().st_uid != os.getuid():
                continue
            descriptor = os.open(directory / _OWNER, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(descriptor)


def free_memory(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Memory that this process may still take, in MiB: of the machine, and of the control groups it is in.

    Args:
        cgroups: where control groups are mounted (version 1 or 2).
        own: the file that names those of this process.
    """
    free = float(psutil.virtual_memory().available)
    with suppress(OSError):  # no Linux
        for line in own.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            names = (
                ("max", "current", "") if not controllers else ("limit_in_bytes", "usage_in_bytes", "total_")
            )
            mount = cgroups / "memory" if controllers else cgroups
            group = mount / name.strip("/")
            for folder in (group, *group.parents):  # a limit holds for all below
                free = min(free, _free_in(folder, *names))
                if folder == mount:
                    break
    return free / 2**20


def _free_in(group: Path, limit: str, usage: str, total: str) -> float:
    """Of a control group, in bytes; files that are only cached make room when it is needed."""
    try:
        most, used = ((group / f"memory.{name}").read_text().strip() for name in (limit, usage))
        if not most.isdecimal():
            return math.inf
        rows = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        stat = {name: int(value) for name, value in rows}
        cached = stat.get(f"{total}inactive_file", 0) + stat.get(f"{total}active_file", 0)
        return max(0, int(most) - max(0, int(used) - cached))
    except (OSError, ValueError):  # the topmost has no limit; in a container, the names are those outside
        return math.inf


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
    if (descriptor := _locks.pop(directory, None)) is not None:
        os.close(descriptor)


def _first_line(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0].rstrip('.')}" if lines else type(problem).__name__
