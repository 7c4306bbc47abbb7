"""``advseq ui``: MLflow's own server, for the store of these runs, for this machine alone, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from orchestrator.errors import ResumableError, UserError
from orchestrator.links import experiment_url, experiments_url
from orchestrator.tracking import latest_experiment
from orchestrator.tracking_store import artifact_root, environment, sqlite_path

_START_S = 90.0
_STOP_S = 10.0


def serve(
    uri: str, runs_root: Path, host: str = "127.0.0.1", port: int = 5000, open_browser: bool = False
) -> None:
    """Show the runs of a store: print the link, open it if asked to, and serve it until Ctrl-C or SIGTERM.

    A store that is a server already (http, https) is only linked to.
    Raises UserError where there is no store yet or the port is taken; TrackingUnavailable where the store
    cannot be read; ResumableError where the server does not start.
    """
    if uri.startswith(("http://", "https://")):
        _show(uri, latest_experiment(uri), open_browser)
        return
    database = sqlite_path(uri)
    if database is not None and not database.is_file():
        raise UserError(f"there are no runs at {database} yet. Train first: advseq train seqgan_quick")
    latest = latest_experiment(uri)
    with _ended_by_sigterm(), running_server(uri, runs_root, host, port) as base:
        _show(base, latest, open_browser)
        print("Ctrl-C ends it.", flush=True)  # noqa: T201 - what this command is for
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


@contextlib.contextmanager
def running_server(uri: str, runs_root: Path, host: str, port: int) -> Iterator[str]:
    """MLflow's server for a store, answering; yields its address, and ends all its processes on leaving."""
    _require_free(host, port)
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--artifacts-destination", str(artifact_root(runs_root))]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    # Jobs of the server would be eight more processes and 600 MB.
    settings = {**os.environ, **environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    settings["MLFLOW_BACKEND_STORE_URI"] = uri  # not an argument: others on this machine can read those
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(  # a session of its own: Ctrl-C reaches us, and we end it as a whole
            command, env=settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            _wait_until_healthy(server, base, log)
            yield base
        finally:
            _end(server)


def _show(base: str, experiment: str | None, open_browser: bool) -> None:
    link = experiments_url(base) if experiment is None else experiment_url(base, experiment)
    print(link, flush=True)  # noqa: T201 - what this command is for
    if open_browser:
        webbrowser.open(link)


def _require_free(host: str, port: int) -> None:
    if _is_free(host, port):
        return
    other = next((p for p in range(port + 1, min(port + 101, 65536)) if _is_free(host, p)), None)
    advice = "choose another with --port" if other is None else f"try --port {other}"
    raise UserError(f"port {port} on {host} cannot be used, perhaps another server has it: {advice}")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _wait_until_healthy(server: subprocess.Popen[bytes], base: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy leads to this machine
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), direct.open(f"{base}/health", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    log.seek(0)
    said = log.read().decode(errors="replace").strip().splitlines()[-5:]
    what = "ended" if server.poll() is not None else f"did not answer within {_START_S:.0f} s"
    raise ResumableError("\n".join([f"the MLflow server {what}. Its last words:", *said]))


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends the whole process group: the server forks, and its children do not end with it."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, sign)
        deadline = time.monotonic() + _STOP_S
        while time.monotonic() < deadline:
            server.poll()  # reaps the leader
            try:
                os.killpg(server.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Within, SIGTERM and a closed terminal raise SystemExit, so that the server is ended too."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sign: signal.signal(sign, leave) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
