"""The results page, made from finished runs: ``docs/results/<group>/<run>/{summary,config,curve}.json``.

    python docs/results.py add runs/seqgan_quick-s0-001 seqgan_quick    # keeps what the page needs of a run
    python docs/results.py page                                         # writes docs/results.md anew

Every number of the page is computed here from those files; words about them stand in
``docs/results/<group>/notes.md``.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from orchestrator.figures import COLOURS, new_figure, save_figure

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COLUMNS = (
    ("eval/nll_oracle", "NLL_oracle"),
    ("eval/nll_test", "NLL_test"),
    ("eval/unique_rate", "unique"),
    ("eval/self_bleu_2", "self-BLEU-2"),
)
RANKS = (
    ("eval/d_auc", "Held-out real sequences above samples by D's logit (0.5: chance)"),
    ("eval/d_rank_oracle", "Rank correlation of the oracle's likelihood with D's logit over samples"),
    ("eval/g_rank_oracle", "The same with the generator's own likelihood"),
)
LIMIT = 50_000


def add(run: Path, group: str) -> None:
    """Keeps a finished run's summary, configuration and evaluations, without paths of this machine."""
    summary, config = (json.loads((run / name).read_text()) for name in ("summary.json", "config.json"))
    if summary["status"] != "finished":
        sys.exit(f"{run} is {summary['status']}: only a finished run is a result")
    for section, key in (("data", "path"), ("data", "oracle"), ("init", "run"), ("run", "directory")):
        if config[section][key]:
            config[section][key] = Path(config[section][key]).name
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    curve = [
        {"step": record["step"], "stage": record["stage"], **_rounded(record["metrics"])}
        for record in records
        if "eval/unique_rate" in record["metrics"]
    ]
    summary["curves"] = {
        name: [_rounded(point) for point in points] for name, points in summary["curves"].items()
    }
    to = RESULTS / group / f"seed{summary['seed']}"
    to.mkdir(parents=True, exist_ok=True)
    for name, tree in (("summary", summary), ("config", config), ("curve", curve)):
        (to / f"{name}.json").write_text(json.dumps(tree, separators=(",", ":")) + "\n")
    size = sum(path.stat().st_size for path in to.iterdir())
    if size > LIMIT:
        sys.exit(f"{to} has {size:,} bytes; a result may have {LIMIT:,}")
    print(f"{to.relative_to(HERE.parent)}: {size:,} bytes")


def page() -> None:
    """Writes docs/results.md from everything under docs/results/."""
    parts = ["# Results", "", "Made by `python docs/results.py page` from the files under `docs/results/`."]
    for group in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        runs = [json.loads(path.read_text()) for path in sorted(group.glob("*/summary.json"))]
        notes = group / "notes.md"
        parts += ["", f"## {group.name}", ""]
        parts += [notes.read_text().strip(), ""] if notes.is_file() else []
        parts += _table(runs) if runs else []
        parts += _picture(group, runs) if any(run["curves"] for run in runs) else []
    (HERE / "results.md").write_text("\n".join(parts).rstrip() + "\n")


def _table(runs: list[dict[str, Any]]) -> list[str]:
    """Rows: lowest of pretraining, start, end, controls. Cells: mean over seeds, and the spread."""
    first = runs[0]
    rows: list[tuple[str, list[dict[str, float]]]] = []
    if first["baseline"] and first["controls"]:
        rows += [("lowest of pretraining", [run["pretraining_lowest"] for run in runs])]
        rows += [("start of the adversarial stage", [run["baseline"] for run in runs])]
    rows += [(f"**{first['algorithm']}**", [run["metrics"] for run in runs])]
    for control in first["controls"]:
        rows.append((control.replace("_", " "), [run["controls"][control] for run in runs]))
    lines = ["| | " + " | ".join(title for _, title in COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for label, metrics in rows:
        lines.append(f"| {label} | " + " | ".join(_cell(metrics, name) for name, _ in COLUMNS) + " |")
    floor = [
        run["metrics"]["eval/nll_oracle_floor"] for run in runs if "eval/nll_oracle_floor" in run["metrics"]
    ]
    margins = [
        run["metrics"]["eval/control_margin"] for run in runs if "eval/control_margin" in run["metrics"]
    ]
    seeds = ", ".join(str(run["seed"]) for run in runs)
    lines += ["", f"Seeds {seeds}: the mean, and in brackets the least and the greatest; nats per token."]
    if floor:
        lines += [f"The oracle's own entropy: {statistics.mean(floor):.3f}."]
    falls = [
        run["pretraining_lowest"]["eval/nll_oracle"] - run["metrics"]["eval/nll_oracle"]
        for run in runs
        if run["controls"] and "eval/nll_oracle" in run["pretraining_lowest"]
    ]
    if falls:
        lines += [f"Below the lowest of pretraining, by seed: {', '.join(f'{fall:+.3f}' for fall in falls)}."]
    if margins:
        lines += [f"Control margin, by seed: {', '.join(f'{margin:+.3f}' for margin in margins)}."]
    for name, told in RANKS:
        found = [[run[at].get(name) for run in runs] for at in ("baseline", "metrics")]
        if all(value is not None for values in found for value in values):
            start, end = (", ".join(f"{value:.3f}" for value in values) for values in found)
            lines += [f"{told}, by seed: {start} at the start of the adversarial stage, {end} at its end."]
    minutes = statistics.mean(run["wall_s"] for run in runs) / 60
    versions = first["versions"]
    lines += [f"Wall time {minutes:.1f} min a run, {first['processor']}, torch {versions['torch']}."]
    return lines


def _picture(group: Path, runs: list[dict[str, Any]]) -> list[str]:
    """NLL_oracle against NLL_test in the adversarial stage: a line a seed, of the run and of its controls."""
    across, down = "eval/nll_test", "eval/nll_oracle"
    paths: dict[str, list[list[dict[str, float]]]] = {"": []}
    for run in runs:
        curve = json.loads((group / f"seed{run['seed']}" / "curve.json").read_text())
        own = [point for point in curve if point["stage"] == "adversarial"]
        paths[""].append([run["baseline"], *own])
        for name, points in run["curves"].items():
            paths.setdefault(name, []).append(points)
    figure = new_figure(8.0, 5.2)
    axes, trained = figure.subplots(), list[tuple[float, float]]()
    for name, lines in paths.items():
        for i, line in enumerate(lines):
            points = [(point[across], point[down]) for point in line if {across, down} <= point.keys()]
            label = (name.replace("_", " ") or runs[0]["algorithm"]) if i == 0 else None
            style = {"color": COLOURS[name], "linewidth": 1.0 if name else 1.8}
            axes.plot(*zip(*points, strict=True), **style, label=label)
            axes.plot(*points[-1], "o", color=COLOURS[name], markersize=4 if name else 7)
            trained += [] if name == "colder_start" else points
    for limit, values in zip((axes.set_xlim, axes.set_ylim), zip(*trained, strict=True), strict=True):
        room = 0.1 * (max(values) - min(values))  # the coldest temperatures lie far outside
        limit(min(values) - room, max(values) + room)
    axes.set_xlabel("NLL_test, nats per token")
    axes.set_ylabel("NLL_oracle, nats per token")
    axes.legend(frameon=False)
    to = save_figure(figure, group / "curves.png")
    return [
        "",
        f"![NLL_oracle against NLL_test, a line a seed; lower left is better]({to.relative_to(HERE)})",
    ]


def _cell(metrics: list[dict[str, float]], name: str) -> str:
    values = [found[name] for found in metrics if name in found]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ({min(values):.3f}, {max(values):.3f})"


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    kept = {name: value for name, value in metrics.items() if name.startswith(("eval/", "temperature"))}
    return {name: round(value, 5) for name, value in kept.items()}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["add", *runs, group] if runs:
            for run in runs:
                add(Path(run), group)
        case ["page"]:
            page()
        case _:
            sys.exit(__doc__)
