"""Processes of a test: who is still there, and waiting for them."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

import psutil

MARK = "ADVSEQ_TEST_MARK"
"""The environment variable by which descendants are recognised."""


def left(mark: str) -> list[str]:
    """Processes that inherited the mark and live."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:100])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def actors(title: str) -> list[psutil.Process]:
    """Ray actors of this process's clusters, by the class that they run; others may test beside it."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it is gone by now
            if " ".join(process.cmdline()).startswith(f"ray::{title}"):
                found.append(process)
    return found


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether it holds within so many seconds."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
