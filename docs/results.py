"""The results page, made from finished runs: ``docs/results/<group>/<run>/{summary,config,curve}.json``.

    python docs/results.py add runs/seqgan_quick-s0-001 seqgan_quick    # keeps what the page needs of a run
    python docs/results.py page                                         # writes docs/results.md anew

Every number of the page is computed here from those files. Words stand in ``docs/results/<group>/notes.md``,
and the numbers in them are asked for: ``{{GROUP: mean metrics.eval/nll_oracle}}`` (see ``orchestrator``'s
names; ``each``, ``mean``, ``least``, ``most``, ``error``, ``between`` (the mean and its interval) of a place
in the summary, of its difference from another place or from the same one in another group, seed by seed, or
of ``lowest NAME``, the lowest evaluation of the adversarial stage). What papers say stands in
``docs/results/papers.json``, with its source.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.dotted import flatten
from orchestrator.figures import save_figure
from orchestrator.recipe import load, resolved
from result_comparisons import comparisons, decodings, gradient_noise
from result_groups import RESULTS, Group, Json, filled, interval, mean_between, place, spread, told
from result_pictures import pictures

HERE = Path(__file__).parent
COLUMNS = (
    ("eval/nll_oracle", "NLL_oracle"),
    ("eval/nll_test", "NLL_test"),
    ("eval/lm_score", "LM score"),
    ("eval/reverse_lm_score", "reverse LM"),
    ("eval/bleu_2", "BLEU-2"),
    ("eval/bleu_5", "BLEU-5"),
    ("eval/self_bleu_2", "self-BLEU-2"),
    ("eval/self_bleu_5", "self-BLEU-5"),
    ("eval/unique_rate", "unique"),
    ("eval/novelty", "novelty"),
    ("eval/frechet", "Frechet"),
    ("eval/js_1", "JS-1"),
    ("eval/js_2", "JS-2"),
    ("eval/js_3", "JS-3"),
    ("eval/js_4", "JS-4"),
    ("eval/known_words", "known words"),
)
OF_TEXT = {"eval/lm_score", "eval/reverse_lm_score", "eval/bleu_2", "eval/bleu_5", "eval/self_bleu_5",
           "eval/novelty", "eval/frechet"}  # fmt: skip
OF_CHARACTERS = {"eval/js_1", "eval/js_2", "eval/js_3", "eval/js_4", "eval/known_words"}
BESIDE_CHARACTERS = {"eval/lm_score", "eval/reverse_lm_score", "eval/unique_rate", "eval/novelty"}
RANKS = (
    ("eval/d_auc", "Held-out real sequences above samples by D's logit (0.5: chance)"),
    ("eval/d_rank_oracle", "Rank correlation of the oracle's likelihood with D's logit over samples"),
    ("eval/g_rank_oracle", "The same with the generator's own likelihood"),
)
KEPT = ("eval/", "temperature", "d/wasserstein", "d/interpolate_grad_norm")
LIMIT = 50_000
MARGIN = "eval/control_margin"


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
    summary["temperatures"] = [_rounded(point) for point in summary["temperatures"]]
    summary["command"] = command(config)
    to = RESULTS / group / f"seed{summary['seed']}"
    to.mkdir(parents=True, exist_ok=True)
    for name, tree in (("summary", summary), ("config", config), ("curve", curve)):
        (to / f"{name}.json").write_text(json.dumps(tree, separators=(",", ":")) + "\n")
    size = sum(path.stat().st_size for path in to.iterdir())
    if size > LIMIT:
        sys.exit(f"{to} has {size:,} bytes; a result may have {LIMIT:,}")
    print(f"{to.relative_to(HERE.parent)}: {size:,} bytes")


def command(config: Json) -> str:
    """What has to be typed for this configuration: the recipe, and every setting that differs from it."""
    own, recipe = flatten(config), flatten(resolved(load(config["recipe"], [])))
    left = {"recipe", "run.directory", "run.name", "seed"}
    changed = [f"{k}={_typed(v)}" for k, v in own.items() if k not in left and v != recipe.get(k)]
    return " ".join(["advseq train", config["recipe"], *changed, f"seed={config['seed']}"])


def page(*, draw: bool = True) -> str:
    """The whole page, from everything under docs/results/.

    Args:
        draw: whether the pictures are drawn anew.
    """
    groups = [Group.read(path.name) for path in sorted(RESULTS.iterdir()) if path.is_dir()]
    claims = json.loads((RESULTS / "papers.json").read_text())
    parts = ["# Results", "", "Made by `python docs/results.py page` from the files under `docs/results/`."]
    parts += ["", "## What does not reproduce", "", *_failures(claims, groups)]
    parts += ["", "## The papers' numbers and ours", "", *_claims(claims)]
    parts += ["", "## Control margins", "", *_margins(groups)]
    parts += ["", "## Side by side", *comparisons()]
    parts += ["", "## Where the numbers come from", "", *_provenance(groups)]
    for group in groups:
        notes = group.path / "notes.md"
        parts += ["", f"## {group.name}", ""]
        parts += [filled(notes.read_text().strip()), ""] if notes.is_file() else []
        parts += [*_beside_log(group), *_of_files(group), *gradient_noise(group), *decodings(group)]
        parts += _table(group) if group.runs else []
        for name, (words, drawn) in pictures(group).items():
            if draw:
                save_figure(drawn(), group.path / name)
            parts += ["", f"![{words}](results/{group.name}/{name})"]
    return "\n".join(parts).rstrip() + "\n"


def _failures(claims: Sequence[Json], groups: Sequence[Group]) -> Iterator[str]:
    """Claims that not every seed bears out, and margins that are not above zero."""
    for claim in claims:
        values = _ours(claim)
        if not all(_as_good(claim, value) for value in values):
            reached = sum(_as_good(claim, value) for value in values)
            there, remark = f"{claim['number']:.3f} there, {spread(values)} here", claim.get("remark", "")
            yield (
                f"- **{claim['paper']}, {claim['what']}**: {there}; reached by {reached} of {len(values)} "
                f"seeds. {remark}".rstrip()
            )
    for group in groups:
        margins = group.values(f"metrics.{MARGIN}")
        if len(margins) >= 3 and interval(margins)[0] <= 0:
            worse = (
                "below zero: a control is better" if interval(margins)[1] < 0 else "not told apart from zero"
            )
            name = f"- **The discriminator's help, in `{group.name}`**"
            yield f"{name}: the control margin is {mean_between(margins)}, {worse}."


def _claims(claims: Sequence[Json]) -> Iterator[str]:
    yield "| paper | what | paper's number | ours: mean (least, most) | seeds | group |"
    yield "|---|---|---|---|---|---|"
    for claim in claims:
        values = _ours(claim)
        cells = (claim["paper"], claim["what"], f"{claim['number']:.3f}", spread(values), str(len(values)))
        yield f"| {' | '.join(cells)} | `{claim['group']}` |"
    yield ""
    yield "Sources: " + "; ".join(sorted({f"{c['paper']}: {c['source']}" for c in claims})) + "."


def _ours(claim: Json) -> list[float]:
    group = RESULTS / claim["group"]
    if "file" in claim:  # an evaluation of a file of samples
        value = place(json.loads((group / claim["file"]).read_text()), claim["at"])
        if value is None:
            sys.exit(f"{group / claim['file']} has no {claim['at']}")
        return [value]
    return Group.read(claim["group"]).values(claim["at"])


def _as_good(claim: Json, value: float) -> bool:
    """At least as good as the paper's number, to its decimals; or, where both measure the same, equal."""
    within = claim.get("within", 0.0)
    if claim["better"] == "equal":
        return abs(round(value, 3) - claim["number"]) <= within + 1e-9
    sign = 1 if claim["better"] == "lower" else -1
    return sign * (round(value, 3) - claim["number"]) <= within


def _margins(groups: Sequence[Group]) -> Iterator[str]:
    """By how much a run is better than its best control at equal breadth, with the seeds' uncertainty."""
    yield "How much better a run is than the best of its controls at equal NLL_test, in nats per token (of"
    yield "NLL_oracle; for text of the forward LM score). In brackets: 95 % over three seeds or more."
    yield ""
    yield "| group | seeds | margin | by seed |"
    yield "|---|---|---|---|"
    for group in groups:
        margins = group.values(f"metrics.{MARGIN}")
        if margins:
            yield (
                f"| `{group.name}` | {len(margins)} | {mean_between(margins)} "
                f"| {', '.join(f'{margin:+.3f}' for margin in margins)} |"
            )


def _provenance(groups: Sequence[Group]) -> Iterator[str]:
    yield "| group | command, S: the seed | commit | wall time a run | machine | torch |"
    yield "|---|---|---|---|---|---|"
    for group in groups:
        if not group.runs:
            continue
        typed = {re.sub(r" seed=\d+$", " seed=S", run["command"]) for run in group.runs}
        commits = sorted({run["versions"]["commit"] for run in group.runs})
        minutes = statistics.mean(run["wall_s"] for run in group.runs) / 60
        machines = sorted({run["processor"] for run in group.runs})
        torches = sorted({run["versions"]["torch"] for run in group.runs})
        yield (
            f"| `{group.name}` | {'<br>'.join(f'`{one}`' for one in sorted(typed))} | {', '.join(commits)} "
            f"| {minutes:.1f} min | {', '.join(machines)} | {', '.join(torches)} |"
        )


def _rows_of(group: Group) -> list[tuple[str, list[dict[str, float]]]]:
    """Lowest of pretraining, start, end, controls, real: a label, and what every run has."""
    runs, first = group.runs, group.runs[0]
    rows: list[tuple[str, list[dict[str, float]]]] = []
    if first["baseline"] and first["controls"]:
        rows += [("lowest of pretraining", [run["pretraining_lowest"] for run in runs])]
        rows += [("start of the adversarial stage", [run["baseline"] for run in runs])]
    elif first["baseline"] and "eval/js_4_unigram" in first["metrics"]:
        rows += [("start", [run["baseline"] for run in runs])]
    rows += [(f"**{first['algorithm']}**", [run["metrics"] for run in runs])]
    for control in first["controls"]:
        rows.append((control.replace("_", " "), [run["controls"][control] for run in runs]))
    if first.get("real"):
        rows.append(("real sequences", [run["real"] for run in runs]))
    if "eval/js_4_unigram" in first["metrics"]:
        rows.append(("characters drawn one by one", [_unigram(run["metrics"]) for run in runs]))
    return rows


def _table(group: Group) -> list[str]:
    """Cells: the mean over seeds, and the spread."""
    runs, first, rows = group.runs, group.runs[0], _rows_of(group)
    text = "eval/nll_oracle" not in first["metrics"]
    wanted = {name for name, _ in COLUMNS if text or name not in OF_TEXT} - OF_CHARACTERS
    if "eval/js_4_unigram" in first["metrics"]:
        wanted = OF_CHARACTERS | {
            "eval/lm_score",
            "eval/reverse_lm_score",
            "eval/unique_rate",
            "eval/novelty",
        }
    lines = _beside(rows, wanted)
    seeds = ", ".join(str(run["seed"]) for run in runs)
    lines += ["", f"Seeds {seeds}: the mean, and in brackets the least and the greatest; nats per token."]
    if floor := group.values("metrics.eval/nll_oracle_floor"):
        lines += [f"The oracle's own entropy: {statistics.mean(floor):.3f}."]
    if first["controls"] and group.values("pretraining_lowest.eval/nll_oracle"):
        below = told(group, "each", "pretraining_lowest.eval/nll_oracle - metrics.eval/nll_oracle")
        lines += [f"Below the lowest of pretraining, by seed: {below}."]
    lines += _beside_constant(group)
    for name, words in RANKS:
        found = [group.values(f"{at}.{name}") for at in ("baseline", "metrics")]
        if all(len(values) == len(runs) for values in found):
            start, end = (", ".join(f"{value:.3f}" for value in values) for values in found)
            lines += [f"{words}, by seed: {start} at the start of the adversarial stage, {end} at its end."]
    return lines


def _unigram(metrics: Json) -> dict[str, float]:
    """What characters that are drawn one by one have, under the names of the samples' metrics."""
    ending = "_unigram"
    return {name.removesuffix(ending): v for name, v in metrics.items() if name.endswith(ending)}


def _beside(rows: Sequence[tuple[str, list[dict[str, float]]]], wanted: set[str]) -> list[str]:
    """A table of what was measured, a column for each wanted metric that some row has."""
    columns = [
        (name, title)
        for name, title in COLUMNS
        if name in wanted and any(name in found for _, metrics in rows for found in metrics)
    ]
    lines = ["| | " + " | ".join(title for _, title in columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for label, metrics in rows:
        cells = ([found[name] for found in metrics if name in found] for name, _ in columns)
        lines.append(f"| {label} | " + " | ".join(spread(cell) if cell else "" for cell in cells) + " |")
    return lines


def _of_files(group: Group) -> list[str]:
    """What ``advseq evaluate FILE --json`` said of samples of other systems, and of real sequences."""
    found = {file.stem: json.loads(file.read_text()) for file in sorted(group.path.glob("*.json"))}
    found = {name: result for name, result in found.items() if "protocol" in result}
    if not found:
        return []
    result = next(iter(found.values()))
    rows = [(name, [one["metrics"]]) for name, one in found.items()]
    lines = _beside([*rows, ("real sequences", [result["real"]])], {name for name, _ in COLUMNS})
    files = " ".join(f"--{option} {Path(result[option]).name}" for option in ("reference", "train"))
    typed = f"advseq evaluate FILE {files} --protocol {result['protocol']}"
    return [*lines, "", f"`{typed}`, {result['samples']:,} samples each.", ""]


def _beside_log(group: Group) -> list[str]:
    """Pretraining beside the log that the SeqGAN authors publish."""
    log = json.loads((RESULTS / "seqgan_authors_log.json").read_text())
    if group.name not in log["groups"]:
        return []
    curve = {point["step"]: point["eval/nll_oracle"] for point in group.file(group.runs[0], "curve")}
    lines = ["| epoch | authors' log | here | difference |", "|---|---|---|---|"]
    for epoch, there in log["nll_oracle"].items():
        here = curve[int(epoch)]
        lines.append(f"| {epoch} | {there:.3f} | {here:.3f} | {here - there:+.3f} |")
    worst = max(abs(curve[int(epoch)] - there) for epoch, there in log["nll_oracle"].items())
    return [*lines, "", f"NLL_oracle; the largest difference is {worst:.3f}. The log: {log['source']}.", ""]


def _beside_constant(group: Group) -> list[str]:
    """By how much a constant reward lies above the run after the same steps: where it does, D helped."""
    at = "controls.constant_reward.eval/nll_oracle"
    if len(group.values(at)) < len(group.runs):
        return []
    where = f"{at} - metrics.eval/nll_oracle"
    line = f"NLL_oracle of the constant reward less the run's, by seed: {told(group, 'each', where)}"
    if len(group.runs) > 2:
        line += f"; mean {told(group, 'mean', where)}, standard error {told(group, 'error', where)}"
    return [f"{line}."]


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    kept = {name: value for name, value in metrics.items() if name.startswith(KEPT)}
    return {name: round(value, 5) for name, value in kept.items()}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["add", *runs, group] if runs:
            for run in runs:
                add(Path(run), group)
        case ["page"]:
            (HERE / "results.md").write_text(page())
        case _:
            sys.exit(__doc__)
