"""The shape of the repository, where no other tool checks it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import algorithms
from algorithms.base import Algorithm
from algorithms.registry import ALGORITHMS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("algorithms", "workers", "orchestrator", "sweeps")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted(path for package in PACKAGES for path in (ROOT / "tests" / package).rglob("test_*.py"))
PAPERS = sorted({Path(inspect.getfile(algorithm)) for algorithm in ALGORITHMS})
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

ACROSS = ("contract.py", "resume.py")
"""Endings of tests of a promise that no single module keeps."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_source_file_fits_its_budget(path: Path) -> None:
    budget = 120 if path in PAPERS else 300
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= budget, f"{lines} lines, at most {budget}: split it by idea"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_source_file_is_named_after_what_it_defines(path: Path) -> None:
    vague = {"util", "utils", "helper", "helpers", "common", "misc", "core", "tools"}
    assert vague.isdisjoint(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_source_file_is_finished(path: Path) -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    assert not unfinished.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [p for p in SOURCES if "algorithms" not in p.parts], ids=relative)
def test_nothing_outside_algorithms_asks_which_algorithm_it_is(path: Path) -> None:
    branch = re.compile(
        r"\b(if|elif|match|case)\b[^:\n]*\balgorithm(\.config)?\.name\b|\b(if|elif) algorithm\b"
    )
    text = path.read_text(encoding="utf-8")
    assert not branch.search(text)
    names = {algorithm.Config.model_fields["name"].default for algorithm in ALGORITHMS}
    compared = {
        operand.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Compare)
        for operand in (node.left, *node.comparators)
        if isinstance(operand, ast.Constant) and isinstance(operand.value, str)
    }
    assert names.isdisjoint(compared)


def loads_code(tree: ast.AST) -> Iterator[str]:
    """Each place where what is read from a file could run."""
    modules = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name.split(".")[0] in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in modules:
            yield f"from {node.module} import ..."
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in {"eval", "exec", "torch.load", "torch.save", "torch.jit.load", "pandas.read_pickle"}:
                yield called
            if any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in node.keywords):
                yield f"{called}(allow_pickle=...)"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_data_is_loaded_in_a_form_that_can_run_code(path: Path) -> None:
    assert not list(loads_code(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle", ["import pickle"]),
        ("from cloudpickle import loads", ["from cloudpickle import ..."]),
        ("torch.load(path)", ["torch.load"]),
        ("eval(text)", ["eval"]),
        ("numpy.load(path, allow_pickle=True)", ["numpy.load(allow_pickle=...)"]),
        ("model.eval(); numpy.load(path, allow_pickle=False)", []),
    ],
)
def test_the_search_for_loaded_code_finds_it(code: str, found: list[str]) -> None:
    assert list(loads_code(ast.parse(code))) == found


def test_every_paper_is_registered() -> None:
    written = set()
    for module in pkgutil.iter_modules(algorithms.__path__, "algorithms."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(found, Algorithm) and isinstance(found.Config.model_fields["name"].default, str):
                written.add(found)
    assert written == set(ALGORITHMS)


def test_every_paper_is_named_in_the_import_rules() -> None:
    contracts = {contract["id"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]}
    papers = {f"algorithms.{path.stem}" for path in PAPERS}
    assert set(contracts["papers"]["modules"]) == papers
    assert papers <= set(contracts["blind"]["forbidden_modules"])


@pytest.mark.parametrize("path", sorted((ROOT / "orchestrator/recipes").iterdir()), ids=relative)
def test_every_recipe_is_toml(path: Path) -> None:
    assert path.suffix == ".toml"
    tomllib.loads(path.read_text(encoding="utf-8"))


def test_every_algorithm_has_a_recipe() -> None:
    recipes = [tomllib.loads(path.read_text()) for path in (ROOT / "orchestrator/recipes").glob("*.toml")]
    trained = {recipe.get("algorithm", {}).get("name", "seqgan") for recipe in recipes}
    assert trained == {algorithm.Config.model_fields["name"].default for algorithm in ALGORITHMS}


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_a_test_lies_where_its_module_does(path: Path) -> None:
    folder = ROOT / path.parent.relative_to(ROOT / "tests")
    words = path.stem.split("_")[1:]
    nouns = ["_".join(words[:n]) for n in range(1, len(words) + 1)]  # test_<module>_<aspect>.py is fine too
    assert path.name.endswith(ACROSS) or any(
        (folder / f"{noun}.py").is_file() or (folder / noun).is_dir() for noun in nouns
    )


def test_tests_are_no_package() -> None:
    """With an ``__init__.py`` the folder ``tests/algorithms`` could hide the package ``algorithms``."""
    assert not [relative(p) for name in ("", *PACKAGES) for p in (ROOT / "tests" / name).glob("__init__.py")]


def files_of_the_project() -> list[Path]:
    """What git holds, and what it would; without git, what does not look made."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
        return [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    made = {".venv", "runs", "mlruns", "build", "dist", "__pycache__"}
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and made.isdisjoint(path.relative_to(ROOT).parts)
        and not any(part.startswith(".") and part != ".ci" for part in path.relative_to(ROOT).parts[:-1])
    ]


def test_no_file_names_a_path_of_one_machine() -> None:
    of_a_machine = re.compile(rb"(?<![\w.*}])/(?:root|home|tmp|work|Users|opt)/|\b[A-Z]:\\\\?Users\\")
    found = {
        f"{relative(path)}: {line.decode(errors='replace').strip()[:80]}"
        for path in files_of_the_project()
        for line in path.read_bytes().splitlines()
        if of_a_machine.search(line)
    }
    assert not found


def test_no_tracked_file_is_large() -> None:
    large = {relative(path) for path in files_of_the_project() if path.stat().st_size > 1_000_000}
    assert not large


def requirements() -> list[Requirement]:
    project: dict[str, Any] = PYPROJECT["project"]
    extras = [line for extra in project.get("optional-dependencies", {}).values() for line in extra]
    return [Requirement(line) for line in (*project["dependencies"], *extras)]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_constraints_leave_the_build_of_a_package_to_the_installer() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
