"""Which commit runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from orchestrator.commit import commit


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_a_checkout_and_whether_it_was_changed(tmp_path: Path):
    assert commit(tmp_path / "nowhere") == ""
    git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "first")
    head = git(tmp_path, "rev-parse", "--short=7", "HEAD")
    assert commit(tmp_path) == head
    commit.cache_clear()
    (tmp_path / "a").write_text("2")
    assert commit(tmp_path) == f"{head}-changed"
    commit.cache_clear()
    (tmp_path / ".git/HEAD").write_text("nothing")
    assert commit(tmp_path) == ""
    commit.cache_clear()
