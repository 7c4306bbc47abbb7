"""Groups of runs side by side, as ``docs/results/comparisons.json`` asks, and the table of gradient noise."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from result_groups import RESULTS, Group, Json, filled, spread


def comparisons() -> Iterator[str]:
    """A table for each comparison: a row a group, cells as everywhere on the page."""
    for asked in json.loads((RESULTS / "comparisons.json").read_text()):
        yield from ("", f"### {asked['title']}", "")
        yield "| | seeds | " + " | ".join(title for _, title in asked["columns"]) + " |"
        yield "|---" * (2 + len(asked["columns"])) + "|"
        for label, name, root in asked["rows"]:
            group = Group.read(name)
            cells = [_cell(group, place, root) for place, _ in asked["columns"]]
            yield f"| {label} | {len(group.runs)} | {' | '.join(cells)} |"
        yield from ("", filled(asked["words"]))


def _cell(group: Group, place: str, root: str) -> str:
    """A place in the summary; where it is a metric, of the end, the start or a control (``root``)."""
    values = group.values(f"{root}.{place}" if "/" in place else place)
    if place == "wall_s":
        values = [value / 60 for value in values if root == "metrics"]
    return spread(values) if values else ""


NAMES = {
    "likelihood": "maximum likelihood, 64 real sequences",
    "reinforce": "REINFORCE, D of the whole sequence",
    "reinforce_baseline": "the same less its batch mean",
    "seqgan": "SeqGAN, 4 completions",
    "seqgan_baseline": "the same less the mean at each position",
    "sequence_b0": "MaliGAN, sequence form, b = 0",
    "sequence": "MaliGAN, sequence form, b = 1",
    "token": "MaliGAN, Monte Carlo form, 4 completions, b = 1",
    "mixed": "MaliGAN, mixed, N = 2, groups of 8, b = 1",
    "mixed_token": "MaliGAN, mixed, Monte Carlo form",
}


def gradient_noise(group: Group) -> Iterator[str]:
    """The table of ``docs/gradient_variance.py``, where the group has one."""
    file = group.path / "table.json"
    if not file.is_file():
        return
    found: Json = json.loads(file.read_text())
    titles = ("noise", "alignment", "alignment of the mean")
    yield "| | " + " | ".join(f"{title}, {kind} D" for kind in ("best", "halfway") for title in titles) + " |"
    yield "|---" * 7 + "|"
    for name, label in NAMES.items():
        cells = []
        for kind in ("best", "halfway"):
            row = found[name] if name in found else found[kind][name]
            cells += [f"{row['noise']:.2f}", f"{row['alignment']:.3f}", f"{row['alignment_of_the_mean']:.3f}"]
        yield f"| {label} | {' | '.join(cells)} |"
    yield ""
    yield f"{found['repeats']:,} minibatches each; KL(data, G) there: {found['kl']:.3f} nats a sequence."
    yield ""


SAID = {
    "eval/adversarial_success": "AdverSuc",
    "eval/machine_vs_random": "machine against random",
    "eval/evaluator_reliability_error": "ERE",
    "eval/distinct_1": "distinct-1",
    "eval/distinct_2": "distinct-2",
    "eval/bleu_corpus": "BLEU",
    "eval/length_mean": "length",
    "eval/lm_score": "LM score",
}


def decodings(group: Group) -> Iterator[str]:
    """The table of ``docs/decodings.py``, where the group has one."""
    file = group.path / "decodings.json"
    if not file.is_file():
        return
    found: Json = json.loads(file.read_text())
    yield "| | decoding | " + " | ".join(SAID.values()) + " | perplexity |"
    yield "|---" * (3 + len(SAID)) + "|"
    for row in found["rows"]:
        cells = [row["run"], row["decoding"], *(f"{row[name]:.3f}" for name in SAID)]
        yield f"| {' | '.join(cells)} | {math.exp(row['eval/nll_test']):.1f} |"
    yield ""
    yield "| | steps | minutes | command | commit |"
    yield "|---|---|---|---|---|"
    for label, run in found["runs"].items():
        cells = (label, str(run["adversarial_steps"]), f"{run['minutes']:.0f}")
        yield f"| {' | '.join(cells)} | `{run['command']}` | {run['commit']} |"
    yield ""
    yield f"Evaluators: `{found['evaluator']}`. An interpolated trigram model of the training replies has a "
    yield f"perplexity of {found['trigram_perplexity']:.1f} on the held-out ones."
