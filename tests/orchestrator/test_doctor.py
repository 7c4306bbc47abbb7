"""What the doctor finds on this machine, and on ones with something wrong."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import sys
from pathlib import Path

import psutil
import pytest

from orchestrator import doctor
from orchestrator.doctor import Check, diagnose, print_checks


def named(checks: list[Check], name: str) -> Check:
    (found,) = (check for check in checks if check.name == name)
    return found


def test_this_machine_can_train(runs_root: Path) -> None:
    ray_before = "ray" in sys.modules
    checks = diagnose(runs_root, f"sqlite:///{runs_root}/mlflow.db")
    assert [check.name for check in checks if check.status == "fail"] == []
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    assert {"Python", "torch", "mlflow", "processor", "memory", "runs folder", "GPU", "MLflow store", "Ray",
            "terminal"} <= set(names)  # fmt: skip
    assert named(checks, "torch").found == importlib.metadata.version("torch")
    assert ("ray" in sys.modules) == ray_before
    assert json.loads(json.dumps([check.as_dict() for check in checks]))[0]["name"] == "Python"
    assert all(check.advice for check in checks if check.status != "ok")
    assert all(not check.advice for check in checks if check.status == "ok")


def test_a_store_that_does_not_answer_is_a_warning_without_its_password() -> None:
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        (check,) = doctor._tracking(f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}")
    assert check.status == "warn"
    assert "user:***@127.0.0.1" in check.found
    assert "secret" not in check.found + check.advice
    assert "training works without it" in check.advice


def test_an_embedded_store_is_not_made_by_looking(runs_root: Path) -> None:
    uri = f"sqlite:///{runs_root}/mlflow.db"
    (check,) = doctor._tracking(uri)
    assert (check.status, check.found) == ("ok", f"{uri} will be made")
    assert list(runs_root.iterdir()) == []
    (runs_root / "mlflow.db").write_bytes(b"this is no database" * 100)
    (check,) = doctor._tracking(uri)
    assert check.status == "warn"
    assert check.found == f"{uri} cannot be used"


def test_a_folder_that_will_be_made(tmp_path: Path) -> None:
    (check,) = doctor._disk(tmp_path / "not" / "yet")
    assert check.status in {"ok", "warn"}
    assert "will be made" in check.found
    assert not (tmp_path / "not").exists()


def test_a_folder_that_cannot_be_written() -> None:
    (check,) = doctor._disk(Path("/proc/advseq/runs"))
    assert check.status == "fail"
    assert "run.directory" in check.advice


def test_a_runs_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    (check,) = doctor._disk(tmp_path / "runs")
    assert check.status == "fail"


@pytest.fixture
def source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree of the doctor's own, whose pyproject.toml a test may write."""
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "orchestrator" / "doctor.py"))
    return tmp_path


def declare(tree: Path, python: str, *dependencies: str) -> None:
    (tree / "pyproject.toml").write_text(
        f'[project]\nname = "advseq"\nrequires-python = "{python}"\n'
        f"dependencies = {json.dumps(dependencies)}\n"
    )


def test_versions_outside_their_ranges(source_tree: Path) -> None:
    declare(
        source_tree,
        ">=3.99",
        "psutil>=9999",
        "rich>=1",
        "no-such-package-here[x]>=2",
        'tomli>=1; python_version<"3"',
    )
    (python,) = doctor._python()
    assert python.status == "fail"
    assert ">=3.99" in python.advice
    checks = list(doctor._packages())
    assert [(check.name, check.status) for check in checks] == [
        ("psutil", "fail"),
        ("rich", "ok"),
        ("no-such-package-here", "fail"),
    ]
    assert checks[0].found == psutil.__version__
    assert 'pip install "psutil>=9999"' in checks[0].advice
    assert checks[2].advice == 'pip install "no-such-package-here[x]>=2"'


def test_the_local_part_of_a_version_does_not_matter(source_tree: Path) -> None:
    """torch is 2.13.0+cpu where its wheels have no CUDA."""
    public = importlib.metadata.version("torch").split("+")[0]
    declare(source_tree, ">=3.11", f"torch=={public}")
    assert [check.status for check in doctor._packages()] == ["ok"]


def test_another_projects_file_is_not_believed(source_tree: Path) -> None:
    (source_tree / "pyproject.toml").write_text(
        '[project]\nname = "other"\ndependencies = ["psutil>=9999"]\n'
    )
    assert all(check.status == "ok" for check in doctor._packages() if check.name == "psutil")


def test_little_memory_and_disk_are_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MEMORY_GIB", 1e9)
    monkeypatch.setattr(doctor, "DISK_GIB", 1e9)
    for check in (*doctor._memory(), *doctor._disk(tmp_path)):
        assert check.status == "warn"
        assert "below 1e+09 GiB" in check.advice


def test_an_encoding_that_cannot_print_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open("w", encoding="latin-1") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        (check,) = doctor._terminal()
    assert check == Check("terminal", "warn", "encoding latin-1", check.advice)
    assert "PYTHONUTF8=1" in check.advice


def test_checks_are_printed_with_their_advice(capsys: pytest.CaptureFixture[str]) -> None:
    print_checks([Check("Python", "ok", "3.11.2"), Check("torch", "fail", "[1.0]", "install another")])
    out = capsys.readouterr().out
    assert "[1.0]" in out
    assert "torch: install another" in out
    assert "Will not work: torch." in out
    print_checks([Check("Python", "ok", "3.11.2")])
    assert "Ready to train." in capsys.readouterr().out
