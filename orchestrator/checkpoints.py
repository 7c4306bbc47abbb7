"""Committing a state to disk, and finding the last one that was committed.

    checkpoints/step_000123/   tensors.safetensors   state.json   manifest.json

Everything is written to a temporary folder and synced; the manifest, with sizes and hashes, comes
last; a rename is the commit. Nothing is ever overwritten, nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from orchestrator.errors import AdvseqError, ResumableError

FORMAT = 1
SPARE = 2**24
"""Bytes of a disk that a checkpoint leaves free: journal, summary and samples have to be written, too."""

_FILES = ("tensors.safetensors", "state.json")


class DamagedCheckpoint(AdvseqError):
    """A checkpoint whose files are not those that its manifest names."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read back: all tensors by name, and everything else."""

    step: int
    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def folder(directory: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return directory / f"step_{step:06d}"


def save(directory: Path, step: int, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Path:
    """Commits a checkpoint; one that is there already, and whole, is left as it is.

    Raises:
        ResumableError: the disk is full or cannot be written; what was committed before is intact.
    """
    final = folder(directory, step)
    if final.exists():
        try:
            load(directory, step)
        except DamagedCheckpoint:
            final.rename(_aside(final))
        else:
            return final
    draft = directory / f"tmp-{step:06d}-{os.getpid()}"
    with full_disk_explained(draft):
        shutil.rmtree(draft, ignore_errors=True)  # of a dead process with this one's number
        try:
            draft.mkdir(parents=True)
            _check_room(draft, sum(value.nbytes for value in tensors.values()))
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
                draft / _FILES[0],
            )
            (draft / _FILES[1]).write_text(json.dumps(dict(meta), indent=1))
            manifest = {
                "format": FORMAT,
                "step": step,
                "files": {name: _describe(draft / name) for name in _FILES},
            }
            (draft / "manifest.json").write_text(json.dumps(manifest, indent=1))
            for name in (*_FILES, "manifest.json"):
                _sync(draft / name)
            _sync(draft)
            draft.rename(final)
            _sync(directory)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return final


def load(directory: Path, step: int) -> Checkpoint:
    """Reads a checkpoint and verifies every byte of it.

    Raises:
        DamagedCheckpoint: a file is missing, torn or altered; the message names it.
        ResumableError: a file may not be read.
    """
    at = folder(directory, step)
    try:
        manifest = json.loads((at / "manifest.json").read_text())
        described = manifest["files"]
        if manifest["format"] != FORMAT or manifest["step"] != step or set(described) != set(_FILES):
            raise DamagedCheckpoint(
                f"{at / 'manifest.json'}: not the manifest of step {step} in format {FORMAT}"
            )
        for name in _FILES:  # the names are ours, not the manifest's: nothing outside the folder is ever read
            if _describe(at / name) != described[name]:
                raise DamagedCheckpoint(
                    f"{at / name}: size or hash differ from the manifest; the file was altered"
                )
        tensors = load_file(at / _FILES[0])
        meta = json.loads((at / _FILES[1]).read_text())
    except (
        PermissionError,
        TimeoutError,
    ) as problem:  # the checkpoint may be whole: nothing is put in its place
        raise ResumableError(f"cannot read {at}: {problem}. Mend that, then resume") from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as problem:
        raise DamagedCheckpoint(f"{at}: cannot be read ({problem})") from None
    return Checkpoint(step, tensors, meta)


def steps(directory: Path) -> list[int]:
    """Steps with a committed checkpoint, in order."""
    found = (path.name.removeprefix("step_") for path in directory.glob("step_*") if path.is_dir())
    return sorted(int(name) for name in found if name.isdigit())


def latest(directory: Path, before: int | None = None) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with newer ones.

    Args:
        before: only those of lower steps count.
    """
    complaints: list[str] = []
    for step in reversed(steps(directory)):
        if before is not None and step >= before:
            continue
        try:
            return load(directory, step), complaints
        except DamagedCheckpoint as damage:
            complaints.append(str(damage))
    return None, complaints


def set_aside_newer(directory: Path, step: int) -> None:
    """Renames damaged checkpoints beyond the one that is used, so that they no longer count as newest."""
    for newer in steps(directory):
        if newer > step:
            path = folder(directory, newer)
            path.rename(_aside(path))


def prune(directory: Path, keep: int, pinned: set[int]) -> None:
    """Removes all but the newest ``keep`` and the pinned ones, and drafts that a dead process left."""
    for step in steps(directory)[:-keep]:
        if step not in pinned:
            # a rename first: a half-removed folder must not look like a damaged checkpoint
            doomed = folder(directory, step).rename(directory / f"tmp-gone-{step:06d}-{os.getpid()}")
            shutil.rmtree(doomed, ignore_errors=True)
    for draft in directory.glob("tmp-*"):
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def full_disk_explained(path: Path) -> Iterator[None]:
    """Turns the machine's refusal to write into a message; exit code 75."""
    try:
        yield
    except (OSError, SafetensorError) as problem:
        raise ResumableError(
            f"cannot write {path}: {problem}. What was committed before is intact: "
            "make room or give write permission, then `advseq resume` the run"
        ) from None


def _check_room(draft: Path, size: int) -> None:
    """Raises OSError where a checkpoint of so many bytes does not fit: nothing else is to be filled up."""
    free = shutil.disk_usage(draft).free
    if free < size + SPARE:
        raise OSError(
            f"it needs {(size + SPARE) / 2**20:,.0f} MiB, of which {SPARE // 2**20} stay free for others; "
            f"{free / 2**20:,.0f} MiB are free"
        )


def _aside(path: Path) -> Path:
    number = 1
    while (other := path.with_name(f"damaged-{path.name}-{number}")).exists():
        number += 1
    return other


def _describe(path: Path) -> dict[str, Any]:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return {"bytes": path.stat().st_size, "blake2b": digest.hexdigest()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
