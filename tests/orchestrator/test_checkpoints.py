"""A checkpoint is whole or it is not there."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from orchestrator import checkpoints
from orchestrator.checkpoints import DamagedCheckpoint
from orchestrator.errors import ResumableError
from orchestrator.recipe import load
from orchestrator.run import Run
from toys.small_runs import UNITS, finish

TENSORS = {
    "generator/weight": torch.arange(6.0).view(2, 3),
    "flags": torch.tensor([True, False]),
    "n": torch.tensor(3),
}


def test_round_trip_is_exact(tmp_path: Path):
    checkpoints.save(tmp_path, 7, TENSORS, {"counters": {"step": 7}, "journal": 12})
    found = checkpoints.load(tmp_path, 7)
    assert found.meta == {"counters": {"step": 7}, "journal": 12}
    assert found.tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value)


def test_no_draft_is_left_and_nothing_is_overwritten(tmp_path: Path):
    checkpoints.save(tmp_path, 1, TENSORS, {"journal": 1})
    checkpoints.save(tmp_path, 1, TENSORS, {"journal": 2})
    assert checkpoints.load(tmp_path, 1).meta == {"journal": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["step_000001"]


def test_two_hundred_damages_are_all_noticed(tmp_path: Path):
    rng = random.Random(0)
    checkpoints.save(tmp_path, 1, TENSORS, {"journal": 1})
    folder = checkpoints.folder(tmp_path, 1)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    for _ in range(200):
        name = rng.choice(sorted(whole))
        content = bytearray(whole[name])
        kind = rng.choice(["flip", "cut", "remove", "empty"])
        if kind == "flip":
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del content[rng.randrange(len(content)) :]
        (folder / name).write_bytes(b"" if kind == "empty" else content)
        if kind == "remove":
            (folder / name).unlink()
        found, complaints = checkpoints.latest(tmp_path)
        if found is None:
            assert str(folder) in complaints[0]
        else:  # only white space of the manifest may change without changing what it says
            assert name == "manifest.json"
            assert torch.equal(found.tensors["generator/weight"], TENSORS["generator/weight"])
        (folder / name).write_bytes(whole[name])


def test_the_checkpoint_before_a_damaged_one_is_found_and_the_damage_named(tmp_path: Path):
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, step, TENSORS, {"journal": step})
    (checkpoints.folder(tmp_path, 3) / "tensors.safetensors").write_bytes(b"")
    (checkpoints.folder(tmp_path, 2) / "manifest.json").unlink()
    found, complaints = checkpoints.latest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert len(complaints) == 2
    assert "step_000003/tensors.safetensors" in complaints[0]


def test_a_damaged_checkpoint_is_set_aside_when_its_step_comes_again(tmp_path: Path):
    checkpoints.save(tmp_path, 1, TENSORS, {"journal": 1})
    (checkpoints.folder(tmp_path, 1) / "state.json").write_text("{")
    checkpoints.save(tmp_path, 1, TENSORS, {"journal": 2})
    assert checkpoints.load(tmp_path, 1).meta == {"journal": 2}
    assert (tmp_path / "damaged-step_000001-1" / "state.json").read_text() == "{"


def test_names_in_a_manifest_lead_nowhere(tmp_path: Path):
    checkpoints.save(tmp_path, 1, TENSORS, {"journal": 1})
    path = checkpoints.folder(tmp_path, 1) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["../../secret"] = manifest["files"].pop("state.json")
    path.write_text(json.dumps(manifest))
    with pytest.raises(DamagedCheckpoint):
        checkpoints.load(tmp_path, 1)


def test_pruning_keeps_the_newest_and_the_pinned_and_removes_drafts(tmp_path: Path):
    for step in range(6):
        checkpoints.save(tmp_path, step, TENSORS, {"journal": step})
    (tmp_path / "tmp-000009-1").mkdir()
    checkpoints.prune(tmp_path, keep=2, pinned={1})
    assert checkpoints.steps(tmp_path) == [1, 4, 5]
    assert not list(tmp_path.glob("tmp-*"))


FILL = """
import resource, sys, torch
from pathlib import Path
from orchestrator import checkpoints
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
checkpoints.save(Path(sys.argv[1]), 1, {"small": torch.zeros(8)}, {"journal": 1})
try:
    checkpoints.save(Path(sys.argv[1]), 2, {"large": torch.zeros(50_000)}, {"journal": 2})
except checkpoints.ResumableError as error:
    print(error); sys.exit(error.exit_code)
"""


def test_a_disk_that_takes_no_more_is_explained_and_harms_nothing(tmp_path: Path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    result = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert result.returncode == ResumableError.exit_code, result.stderr
    assert "make room" in result.stdout
    assert checkpoints.steps(tmp_path) == [1]
    assert not list(tmp_path.glob("tmp-*"))


def test_a_disk_without_room_is_noticed_before_it_is_full(tmp_path: Path):
    checkpoints._check_room(tmp_path, 1000)
    with pytest.raises(OSError, match=r"it needs .* MiB are free"):
        checkpoints._check_room(tmp_path, shutil.disk_usage(tmp_path).free)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk needs more rights than this user has")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_run_whose_disk_fills_up_stops_and_goes_on_to_the_same_result(small_disk: Path, tmp_path: Path):
    calm = finish(Run.create(load("seqgan", [*UNITS, f"run.directory={tmp_path / 'calm'}"])))
    run = Run.create(load("seqgan", [*UNITS, f"run.directory={small_disk}"]))
    reached: list[int] = []

    def fill_at(step: int) -> None:
        for progress in run:
            reached.append(progress.step)
            if progress.step == step:
                (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - 2**20))

    with pytest.raises(ResumableError, match="make room"):
        fill_at(4)
    assert reached == [1, 2, 3, 4]
    assert json.loads((run.directory.path / "summary.json").read_text())["status"] == "failed"
    assert checkpoints.latest(run.directory.checkpoints)[0].step == 4
    (small_disk / "ballast").unlink()
    assert finish(Run.resume(run.directory.path))["parameters_sha256"] == calm["parameters_sha256"]
