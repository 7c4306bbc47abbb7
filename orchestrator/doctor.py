"""Whether this machine can train: versions, processor, memory, disk, GPU, tracking store, terminal.

Nothing is started, Ray included. A check that finds something amiss says what to do.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Final, Literal

import psutil
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Status = Literal["ok", "warn", "fail"]

DISTRIBUTION: Final = "advseq"
MEMORY_GIB: Final = 4.0
"""Wanted free: the paper's sizes train in about half of it, MLflow and Ray take the rest."""
DISK_GIB: Final = 2.0
"""Wanted free at the runs: checkpoints, samples, the MLflow store."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: ok; warn: training works, but not as it could; fail: training will not work.
        found: what is there.
        advice: what to do, empty where all is well.
    """

    name: str
    status: Status
    found: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def diagnose(runs_root: Path, tracking_uri: str) -> list[Check]:
    """Looks at everything; takes a few seconds, most of them the imports of torch and MLflow.

    Args:
        runs_root: the folder that holds the run directories; it need not exist yet.
        tracking_uri: MLflow's store or server.
    """
    looks: dict[str, Callable[[], Iterator[Check]]] = {
        "Python": _python,
        "packages": _packages,
        "processor": _processor,
        "memory": _memory,
        "runs folder": lambda: _disk(runs_root),
        "GPU": _gpu,
        "MLflow store": lambda: _tracking(tracking_uri),
        "Ray": _ray,
        "terminal": _terminal,
    }
    checks: list[Check] = []
    for name, look in looks.items():
        try:
            checks += look()
        except (ImportError, OSError) as problem:  # a package that is missing or damaged
            what = f"{type(problem).__name__}: {problem}"
            checks.append(
                Check(name, "fail", what, "install the packages again: pip install --force-reinstall")
            )
    return checks


def print_checks(checks: list[Check]) -> None:
    """A table on standard output, and below it what to do."""
    rich = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column in ("", "check", "found"):
        table.add_column(column)
    for check in checks:
        table.add_row(check.status, check.name, check.found, style=_STYLES[check.status])
    rich.print(table)
    for check in checks:
        if check.advice:
            rich.print(f"{check.name}: {check.advice}")
    worst = [check.name for check in checks if check.status == "fail"]
    rich.print(f"Will not work: {', '.join(worst)}." if worst else "Ready to train.")


_STYLES: Final[dict[Status, str]] = {"ok": "", "warn": "yellow", "fail": "bold red"}


def _python() -> Iterator[Check]:
    wanted = _declared()[0]
    fits = wanted.contains(platform.python_version(), prereleases=True)
    yield Check(
        "Python",
        "ok" if fits else "fail",
        platform.python_version(),
        "" if fits else f"install Python {wanted} and make a new environment with it",
    )


def _packages() -> Iterator[Check]:
    for requirement in _declared()[1]:
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Check(requirement.name, "fail", "not installed", f'pip install "{_plain(requirement)}"')
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        advice = "" if fits else f'wanted {requirement.specifier}: pip install "{_plain(requirement)}"'
        yield Check(requirement.name, "ok" if fits else "fail", found, advice)


def _processor() -> Iterator[Check]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    usable = cores if quota is None else min(cores, max(1, round(quota)))
    name = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    advice = "" if usable > 1 else "one core trains, slowly; learner.threads=1 avoids contention"
    limit = "" if quota is None or quota >= cores else f", limited to {quota:g} by the container"
    yield Check(
        "processor",
        "ok" if usable > 1 else "warn",
        f"{cores} cores{limit}, {name}, torch uses {torch.get_num_threads()} threads",
        advice,
    )


def _memory() -> Iterator[Check]:
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if limit is not None and limit < total:
        total, free = limit, min(free, limit - (used or 0))
    enough = free >= MEMORY_GIB * 2**30
    yield Check(
        "memory",
        "ok" if enough else "warn",
        f"{_gib(free)} free of {_gib(total)}",
        "" if enough else f"below {MEMORY_GIB:g} GiB: lower rollout.memory_mb and evaluation.samples",
    )


def _disk(runs_root: Path) -> Iterator[Check]:
    there = next(
        folder for folder in (runs_root.absolute(), *runs_root.absolute().parents) if folder.exists()
    )
    name = "runs folder"
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as problem:
        reason = problem.strerror or str(problem)
        yield Check(
            name, "fail", f"cannot write in {there}: {reason}", "choose another with run.directory=FOLDER"
        )
        return
    free = shutil.disk_usage(there).free
    enough = free >= DISK_GIB * 2**30
    state = "exists" if there == runs_root.absolute() else "will be made"
    yield Check(
        name,
        "ok" if enough else "warn",
        f"{runs_root} {state}, {_gib(free)} free",
        "" if enough else f"below {DISK_GIB:g} GiB: make room, or choose another with run.directory=FOLDER",
    )


def _gpu() -> Iterator[Check]:
    import torch

    with warnings.catch_warnings(record=True) as caught:  # torch warns where a driver is too old
        warnings.simplefilter("always")
        seen = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        usable = bool(seen) and torch.cuda.is_available()
    if usable:
        yield Check("GPU", "ok", f"{', '.join(seen)}; CUDA {torch.version.cuda}")
    elif Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        why = f": {str(caught[-1].message).splitlines()[0]}" if caught else ""
        build = "has no CUDA" if torch.version.cuda is None else f"was built for CUDA {torch.version.cuda}"
        advice = (
            f"this torch ({torch.__version__}) {build}: install one that fits the driver, or train on the CPU"
        )
        yield Check("GPU", "warn", "there is one, but torch cannot use it" + why, advice)
    else:
        yield Check("GPU", "ok", "none: training runs on the CPU")


def _tracking(uri: str) -> Iterator[Check]:
    from orchestrator.passwords import hidden
    from orchestrator.tracking import reachable
    from orchestrator.tracking_store import sqlite_path

    file = sqlite_path(uri)
    if file is not None and not file.exists():  # looking would make it
        yield Check("MLflow store", "ok", f"{hidden(uri)} will be made")
    elif (problem := reachable(uri)) is None:
        yield Check("MLflow store", "ok", hidden(uri))
    else:
        advice = f"training works without it, but cannot be compared there: {hidden(problem)}"
        yield Check("MLflow store", "warn", f"{hidden(uri)} cannot be used", advice)


def _ray() -> Iterator[Check]:
    """Not imported: that takes a second, and only a cluster needs it."""
    try:
        found = version("ray")
    except PackageNotFoundError:
        found = None
    if found is None or importlib.util.find_spec("ray") is None:
        advice = 'train with --workers 0, or pip install "ray[default]"'
        yield Check("Ray", "warn", "not importable", advice)
    else:
        yield Check("Ray", "ok", f"{found}, importable")


def _terminal() -> Iterator[Check]:
    encoding = getattr(sys.stdout, "encoding", None) or "unknown"
    fine = encoding.lower().replace("-", "") == "utf8"
    advice = "" if fine else "samples may not print: set PYTHONUTF8=1, or a UTF-8 locale such as LANG=C.UTF-8"
    yield Check("terminal", "ok" if fine else "warn", f"encoding {encoding}", advice)


def _declared() -> tuple[SpecifierSet, list[Requirement]]:
    """The ranges of Python and the packages: the source tree's where this is one, else the installed ones."""
    source = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(source.read_text(encoding="utf-8")).get("project", {}) if source.is_file() else {}
    if project.get("name") == DISTRIBUTION:
        python, lines = project["requires-python"], project["dependencies"]
    else:
        try:
            python, lines = metadata(DISTRIBUTION)["Requires-Python"], requires(DISTRIBUTION) or []
        except PackageNotFoundError:  # a bare working directory: nothing is declared
            python, lines = "", []
    wanted = [requirement for line in lines if (requirement := _parsed(line)) and _applies(requirement)]
    return SpecifierSet(python or ""), wanted


def _parsed(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def _applies(requirement: Requirement) -> bool:
    """Whether it is needed here, extras aside."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _plain(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _quota() -> float | None:
    """Cores that the container may use, or None."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no cgroup of version 2, or "max"
        return None


def _cgroup(name: str) -> int | None:
    try:
        return int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
