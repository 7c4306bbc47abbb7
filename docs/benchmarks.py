"""The page of benchmarks, made from the documents that ``advseq bench --json`` has printed.

    advseq bench --json > docs/benchmarks/MACHINE.json
    advseq bench --workers --json > docs/benchmarks/MACHINE.workers.json
    advseq bench --critic --json > docs/benchmarks/MACHINE.critic.json
    advseq bench --dialogue --json > docs/benchmarks/MACHINE.dialogue.json
    advseq bench --growth docs/benchmarks/MACHINE --json > /dev/null
    python docs/benchmarks.py                                             # writes docs/benchmarks.md anew

Words about a machine stand in ``docs/benchmarks/MACHINE.md``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDER = HERE / "benchmarks"


def main() -> None:
    parts = [
        "# Benchmarks",
        "",
        "Made by `python docs/benchmarks.py` from the files under `docs/benchmarks/`.",
    ]
    for path in sorted(FOLDER.glob("*.json")):
        if path.stem.endswith((".workers", ".critic", ".dialogue")):
            continue
        found, notes = json.loads(path.read_text()), FOLDER / f"{path.stem}.md"
        parts += ["", f"## {path.stem}", ""]
        parts += [notes.read_text().strip(), ""] if notes.is_file() else []
        parts += _machine(found["machine"])
        parts += _phases(found["rows"])
        workers = FOLDER / f"{path.stem}.workers.json"
        if workers.is_file():
            parts += _workers(json.loads(workers.read_text()))
        critic = FOLDER / f"{path.stem}.critic.json"
        if critic.is_file():
            parts += _critics(json.loads(critic.read_text()))
        dialogue = FOLDER / f"{path.stem}.dialogue.json"
        if dialogue.is_file():
            parts += _replies(json.loads(dialogue.read_text()))
        growth = FOLDER / path.stem / "growth.json"
        if growth.is_file():
            parts += _growth(json.loads(growth.read_text()), path.stem)
    (HERE / "benchmarks.md").write_text("\n".join(parts).rstrip() + "\n")


def _machine(machine: dict[str, Any]) -> list[str]:
    rates = ", ".join(f"{name} {machine[name]['flops_per_s'] / 1e9:.1f}" for name in ("fp32", "bf16"))
    where = f"{machine['device']} ({machine['processor']}, {machine['capability']})"
    versions = f"torch {machine['torch']}, advseq {machine['advseq']}"
    busy = f"Other processes kept {machine['busy_elsewhere']:.1f} cores busy."
    run = f"{where}, {machine['threads']} threads, {versions}"
    return [f"{run}. Matrix products in the same run, GFLOP/s: {rates}. {busy}", ""]


def _phases(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| phase | time | serial | ratio | GFLOP | of limit | peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        took, serial = row["seconds"], row["serial_seconds"]
        ratio = f"{serial / took:.1f}" if took and serial else ""
        flops = f"{row['flops'] / 1e9:.3g}" if row["flops"] else ""
        limit = f"{row['fraction_of_limit']:.2f}" if row["fraction_of_limit"] else ""
        peak = f"{row['peak_bytes'] / 2**20:.0f}" if row["peak_bytes"] else ""
        lines.append(
            f"| {row['name']} | {_time(took)} | {_time(serial)} | {ratio} | {flops} | {limit} | {peak} |"
        )
    notes = [f"{row['name']}: {row['note']}" for row in rows if row["note"]]
    return [*lines, "", *(f"- {note}" for note in notes)]


def _workers(found: dict[str, Any]) -> list[str]:
    lines = ["", "| pool, reference work | one batch | ratio |", "|---|---|---|"]
    lines += [f"| {row['pool']} | {_time(row['seconds'])} | {row['ratio']:.2f} |" for row in found["pools"]]
    lines += ["", "| simulated workers | processes | unit | units | time | efficiency | controller a unit |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row['workers']} | {row['processes']} | {_time(row['unit_s'])} | {row['units']} | "
        f"{_time(row['seconds'])} | {row['efficiency']:.2f} | {_time(row['controller_s_per_unit'])} |"
        for row in found["simulated"]
    ]
    return lines


def _critics(found: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "| a critic's step, 64 rows of 32 characters, 5 blocks of 512 | time | ratio |",
        "|---|---|---|",
    ]
    for row in found["critics"]:
        ratio = row["note"] if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(f"| {row['critic']} | {_time(row['seconds'])} | {ratio} |")
    return lines


def _replies(found: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "| credits of 64 replies of 20 tokens, 5 completions | sizes | time | ratio | encoder runs |",
        "|---|---|---|---|---|",
    ]
    for row in found["replies"]:
        numbers = f"{_time(row['seconds'])} | {row['ratio']:.1f} | {row['encoder_runs']}"
        lines.append(f"| {row['way']} | {row['sizes']} | {numbers} |")
    return lines


def _growth(found: dict[str, Any], folder: str) -> list[str]:
    lines = ["", "| one batch of credits grows with | as the power | where |", "|---|---|---|"]
    for series in found["series"]:
        over = series["over"]
        picture = f"[{over}](benchmarks/{folder}/growth_{over}.png)"
        sizes = f"{series['sizes'][0]:,} to {series['sizes'][-1]:,}"
        lines.append(f"| {picture} {sizes} | {series['exponent']:.2f} | {series['about']} |")
    return lines


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


if __name__ == "__main__":
    main()
