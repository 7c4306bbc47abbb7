"""The run directory: where everything of a run lies, and who may write to it.

config.json  metrics.jsonl  fingerprints.jsonl  events.jsonl  summary.json  codec.json  model/
checkpoints/step_000123/   samples/step_000123.txt   attempts/<n>/   controls/<name>/...
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from orchestrator.checkpoints import full_disk_explained
from orchestrator.commit import commit
from orchestrator.config import RunConfig
from orchestrator.errors import UserError
from orchestrator.recipe import load_resolved, resolved

PACKAGES = ("advseq", "torch", "ray", "mlflow", "optuna", "pandas", "numpy", "tokenizers", "safetensors")


class RunDirectory:
    """One run's folder, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock")
        self._attempt = 0

    @classmethod
    def create(cls, config: RunConfig, wanted: Path | None = None) -> RunDirectory:
        """A new folder with the resolved configuration in it, held by this process.

        Args:
            wanted: the folder itself; otherwise its name is made from the recipe, the seed and a number.

        Raises:
            UserError: the folder exists already, or cannot be made.
        """
        root = config.run.directory
        try:
            if wanted is None and config.run.name is not None:
                wanted = root / config.run.name
            if wanted is not None:
                if (wanted / "config.json").exists():
                    raise UserError(
                        f"{wanted} holds a run already: `advseq resume {wanted}` continues it, "
                        "or choose another folder"
                    )
                if wanted.is_dir() and any(wanted.iterdir()):
                    raise UserError(f"{wanted} is not empty and holds no run: choose a new folder")
                wanted.mkdir(parents=True, exist_ok=True)
                path = wanted
            else:
                path = _numbered(root, f"{config.recipe}-s{config.seed}")
        except OSError as problem:
            raise UserError(
                f"cannot make a run directory in {wanted or root}: {problem.strerror or problem}; "
                "choose a folder that you may write to with --run-dir or run.directory=FOLDER"
            ) from None
        directory = cls(path)
        directory.hold()
        directory.write_json("config.json", resolved(config))
        return directory

    @classmethod
    def open(cls, path: Path) -> tuple[RunDirectory, RunConfig]:
        """An existing run, for reading.

        Raises:
            UserError: the folder holds no run.
        """
        try:
            there = (path / "config.json").is_file()
        except OSError as problem:
            raise UserError(f"cannot read {path}: {problem.strerror or problem}") from None
        if not there:
            raise UserError(
                f"{path} is no run directory: wanted a folder with a config.json, as `advseq train` makes "
                f"them{_suggestions(path)}"
            )
        return cls(path), load_resolved(path / "config.json")

    def hold(self) -> None:
        """Makes this process the only one that writes here.

        Raises:
            UserError: another process holds the run.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.path} is being written by another process: wait for it, or stop it first"
            ) from None
        except OSError as problem:
            raise UserError(f"cannot write to {self.path}: {problem.strerror or problem}") from None

    def release(self) -> None:
        """Lets other processes write here."""
        self._lock.release()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def stacks(self) -> Path:
        """Where processes of this attempt say where they stand when they are overdue; an absolute path, since
        theirs may be another working folder."""
        return (self.path / "attempts" / str(self._attempt) / "stacks").absolute()

    def control(self, name: str) -> Path:
        """The folder of a control, made if need be."""
        path = self.path / "controls" / name
        with full_disk_explained(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def trained_controls(self) -> list[Path]:
        """The folders of controls that have a journal of their own."""
        return sorted(path.parent for path in self.path.glob("controls/*/metrics.jsonl"))

    def event(self, what: str, **details: Any) -> None:
        """Appends a line to events.jsonl."""
        line = {"time": round(time.time() * 1000), "event": what, **details}
        with full_disk_explained(self.path / "events.jsonl"), (self.path / "events.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def write_json(self, name: str, tree: Mapping[str, Any]) -> None:
        """Replaces a JSON file as a whole."""
        write_json(self.path / name, tree)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON file's content, or None where it is absent or torn."""
        try:
            content = json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def same_data(self, identity: Mapping[str, Any]) -> bool:
        """Holds data against those that the run began with; False where it has not begun.

        Raises:
            UserError: they are others.
        """
        known = self.read_json("data.json")
        if known is not None and known.get("digest") != identity["digest"]:
            raise UserError(
                f"{identity['source']} is not what {self.path} began with (digest {known.get('digest')}, now "
                f"{identity['digest']}): put the file back as it was, or start a new run"
            )
        return known is not None

    def new_attempt(self) -> int:
        """Notes that a process begins to work on this run, and on what machine; attempts count from 1."""
        number = 1 + max(
            (int(p.name) for p in (self.path / "attempts").glob("*") if p.name.isdigit()), default=0
        )
        folder = self.path / "attempts" / str(number)
        with full_disk_explained(folder):
            folder.mkdir(parents=True)
        self._attempt = number
        write_json(folder / "environment.json", {"started": round(time.time() * 1000), **environment()})
        return number


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Writes a JSON file beside its place, syncs it, and renames it there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with full_disk_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w") as file:
            json.dump(finite(tree), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def finite(tree: Any) -> Any:
    """The same tree with NaN and the infinities as strings, which JSON has no numbers for."""
    if isinstance(tree, float) and not math.isfinite(tree):
        return str(tree)
    if isinstance(tree, Mapping):
        return {key: finite(value) for key, value in tree.items()}
    return [finite(value) for value in tree] if isinstance(tree, list | tuple) else tree


def environment() -> dict[str, Any]:
    """What the results may depend on: versions, processor, threads. No names of machines or people."""
    return {"versions": versions(), "python": platform.python_version(), "processor": processor(),
            "torch_threads": torch.get_num_threads(), "cuda": torch.version.cuda}  # fmt: skip


def versions() -> dict[str, str]:
    """Installed versions of the packages that matter, and the commit of ours."""
    found = {"commit": commit()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def processor() -> str:
    """The class of device that results are exact on: architecture and vector instructions."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _numbered(root: Path, stem: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    taken = [int(m[1]) for p in root.iterdir() if (m := re.fullmatch(re.escape(stem) + r"-(\d+)", p.name))]
    number = max(taken, default=0)
    while True:  # two processes may start at once: whoever makes the folder has the number
        number += 1
        path = root / f"{stem}-{number:03d}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def _suggestions(path: Path) -> str:
    root = path.parent if path.parent.is_dir() else Path("runs")
    runs = sorted(p.parent.name for p in root.glob("*/config.json"))[-3:] if root.is_dir() else []
    return f"; in {root} there are {', '.join(runs)}" if runs else ""
