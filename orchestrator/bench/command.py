"""``advseq bench``: what is measured, and how it is shown. Everything heavy is imported when it is called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.bench.names import chosen
from orchestrator.errors import UserError
from orchestrator.printing import print_json

Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PHASE", help="Measure this phase alone; may be given several times."),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Tiny sizes: whether everything works, not how fast it is.")
]
Workers = Annotated[
    bool,
    typer.Option(
        "--workers", help="Compare this process with Ray workers, and simulate many; phases only with --only."
    ),
]
Growth = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Draw into this folder how credits grow with B, T, N, V and with simulated workers; phases only "
        "with --only.",
    ),
]
Critic = Annotated[
    bool,
    typer.Option(
        "--critic",
        help="Compare forms of WGAN-GP's critic step with the shipped one; phases only with --only.",
    ),
]
Dialogue = Annotated[
    bool,
    typer.Option(
        "--dialogue",
        help="Compare rewards of every word of replies with loops over prefixes; phases only with --only.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")
]


def bench(
    only: Only = None,
    quick: Quick = False,
    workers: Workers = False,
    growth: Growth = None,
    critic: Critic = False,
    dialogue: Dialogue = False,
    json_output: Json = False,
) -> None:
    """Measure each phase of a step at the paper's sizes, beside a serial baseline and the machine's limit."""
    chosen(only or ())
    if growth is not None:
        make_folder(growth)
    import torch

    from orchestrator.bench.critic import compare_critics
    from orchestrator.bench.dialogue import compare_dialogue
    from orchestrator.bench.growth import measure_growth
    from orchestrator.bench.machine import LARGEST, Others, measure_machine
    from orchestrator.bench.phases import measure
    from orchestrator.bench.scaling import compare_pools, simulate_workers
    from orchestrator.bench.work import Work, reference
    from orchestrator.needs import device_here
    from orchestrator.processes import explained

    config = reference(quick)
    with explained():
        device = device_here(config)
    others, found = Others(), dict[str, Any]()
    with Work(config, device) as work:
        _say("measuring the machine ...")
        machine = measure_machine(work.device, largest=256 if quick else LARGEST)
        phases = bool(only) or not (workers or growth or critic or dialogue)
        rows = measure(work, machine, only or (), _say) if phases else []
        if workers:
            found["pools"] = [row.as_dict() for row in compare_pools(work, quick=quick, say=_say)]
    if critic:
        fast = machine.has_fast_bf16
        critics = compare_critics(torch.device(device), fast_bf16=fast, quick=quick, say=_say)
        found["critics"] = [row.as_dict() for row in critics]
    if dialogue:
        ways = compare_dialogue(torch.device(device), quick=quick, say=_say)
        found["replies"] = [row.as_dict() for row in ways]
    if workers:
        found["simulated"] = [row.as_dict() for row in simulate_workers(config, quick=quick, say=_say)]
    if growth is not None:
        found["growth"] = measure_growth(growth, quick=quick, say=_say)
    described = {**machine.as_dict(), "busy_elsewhere": others.cores()}
    if json_output:
        document = {"machine": described, "rows": [row.as_dict() for row in rows], **found}
        print_json(document)
        return
    _show(described, [row.as_dict() for row in rows], found)


def make_folder(folder: Path) -> None:
    """Makes the folder of the pictures.

    Raises:
        UserError: it cannot be made, or not be written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(
            f"--growth {folder}: cannot make this folder: {problem.strerror}; give another one"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"--growth {folder}: cannot write into this folder; give another one")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _show(machine: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> None:
    out = _out()
    rates = ", ".join(
        f"{name} {machine[name]['flops_per_s'] / 1e9:,.4g} GFLOP/s" for name in ("fp32", "bf16")
    )
    out.print(
        f"{machine['device']} ({machine['processor']}, {machine['capability']}), "
        f"{_plural(machine['threads'], 'thread')}, torch {machine['torch']}, advseq {machine['advseq']}"
    )
    out.print(f"matrix products: {rates}; other processes kept {machine['busy_elsewhere']:.1f} cores busy")
    if rows:
        _table(PHASE_COLUMNS, rows)
    for title, columns in TABLES.items():
        if title in found:
            _table(columns, found[title])
    for picture in found.get("growth", {}).get("pictures", ()):
        out.print(f"drawn: {picture}")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


PHASE_COLUMNS = {
    "name": ("phase", str),
    "seconds": ("time", _seconds),
    "serial_seconds": ("serial", _seconds),
    "flops": ("GFLOP", lambda value: f"{value / 1e9:.3g}"),
    "fraction_of_limit": ("of limit", lambda value: f"{value:.2f}"),
    "peak_bytes": ("peak MiB", lambda value: f"{value / 2**20:.3g}"),
    "tokens_per_s": ("tokens/s", _count),
    "sequences_per_s": ("sequences/s", _count),
}
"""Of a table: key -> (title, how a value is written)."""
POOL_COLUMNS = {
    "pool": ("pool", str),
    "seconds": ("one batch", _seconds),
    "ratio": ("ratio", lambda value: f"{value:.2f}"),
}
SIMULATED_COLUMNS = {
    "workers": ("simulated", str),
    "processes": ("processes", str),
    "unit_s": ("unit", _seconds),
    "units": ("units", str),
    "seconds": ("time", _seconds),
    "efficiency": ("efficiency", lambda value: f"{value:.2f}"),
    "controller_s_per_unit": ("controller/unit", _seconds),
}
CRITIC_COLUMNS = {
    "critic": ("critic's step", str),
    "seconds": ("time", _seconds),
    "ratio": ("ratio", lambda value: f"{value:.2f}"),
}
REPLY_COLUMNS = {
    "sizes": ("sizes", str),
    "way": ("credits of 64 replies", str),
    "seconds": ("time", _seconds),
    "ratio": ("ratio", lambda value: f"{value:.2f}"),
    "encoder_runs": ("encoder runs", str),
}
TABLES = {
    "pools": POOL_COLUMNS,
    "simulated": SIMULATED_COLUMNS,
    "critics": CRITIC_COLUMNS,
    "replies": REPLY_COLUMNS,
}


def _table(columns: Mapping[str, tuple[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows, what is not known left empty; their notes below."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, (title, _) in enumerate(columns.values()):
        table.add_column(title, no_wrap=True, justify="right" if number else "left")
    for row in rows:
        cells = ((row[key], write) for key, (_, write) in columns.items())
        table.add_row(*("" if value is None else write(value) for value, write in cells))
    out = _out()
    out.print()
    out.print(table)
    first = next(iter(columns))
    for row in rows:
        if row.get("note"):
            out.print(f"{row[first]}: {row['note']}", style="dim")


def _out() -> Any:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)
