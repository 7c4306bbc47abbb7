"""Secrets of a real run with Ray: they are nowhere but in the environment of its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from toys.processes import free_port
from toys.small_runs import TINY

ROOT = Path(__file__).parents[2]
TOKEN, PASSWORD = "4d1f6a2b9c8e7f0a1b2c3d4e5f607182", "pass-word-77aa"

pytestmark = pytest.mark.ray


def holding(folder: Path, *secrets: str) -> Iterator[tuple[Path, bool]]:
    """Files under a folder, and whether a secret is in them, as text or inside of something else."""
    for file in folder.rglob("*"):
        with suppress(OSError):  # it is gone by now
            if file.is_file():
                content = file.read_bytes()
                yield file, any(secret.encode() in content for secret in secrets)


def test_neither_token_nor_password_is_written_anywhere(tmp_path: Path):
    logs: set[str] = set()
    leaks: set[Path] = set()
    with tempfile.TemporaryDirectory(prefix="t") as other:  # short: sockets lie in it
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "train", "seqgan", *TINY, "controls=none", "steps=1",
             "run.name=it", "--workers", "1"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "RAY_AUTH_TOKEN": TOKEN,
                "TMPDIR": other,
                "MLFLOW_TRACKING_URI": f"http://me:{PASSWORD}@127.0.0.1:{free_port()}",  # nobody is there
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        while process.poll() is None:  # its folder for Ray's logs goes with the run
            for file, leaks_here in holding(Path(other), TOKEN, PASSWORD):
                logs.add(file.name)
                leaks |= {file} if leaks_here else set()
            time.sleep(0.2)
        said, _ = process.communicate()
    assert process.returncode == 0, said
    assert {"raylet.out", "gcs_server.out"} <= logs
    assert any(name.startswith("worker-") for name in logs)
    assert leaks == set()
    assert "me:***@127.0.0.1" in said  # it was used, and said without the password
    assert not [line for line in said.splitlines() if TOKEN in line or PASSWORD in line]
    found = dict(holding(tmp_path, TOKEN, PASSWORD))
    assert {"config.json", "events.jsonl", "tracking.json"} & {file.name for file in found}
    assert not any(found.values())
    (tmp_path / "seen").write_text(f"x{TOKEN}")
    assert [file.name for file, leaks_here in holding(tmp_path, TOKEN) if leaks_here] == ["seen"]
