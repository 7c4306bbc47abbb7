"""Runs on one dataset, decoded in several ways: what evaluators say of them, like Table 3 of Li et al. 2017.

    python docs/decodings.py GROUP LABEL=RUN[:CHECKPOINT] ... [--all-ways] [--backward RUN]

writes docs/results/GROUP/decodings.json, beside what it has of other runs. All rows share the data, the
evaluators' histories and their seed; the cases without a machine are trained once.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from algorithms.models.base import Generator
from algorithms.types import Sequences
from orchestrator import checkpoints
from orchestrator.adversarial_evaluation import AdversarialEvaluation, Side
from orchestrator.chosen_checkpoint import find_step
from orchestrator.data import load_data
from orchestrator.decoding import STOP_WORDS, Decoding
from orchestrator.evaluation import log_likelihood
from orchestrator.evaluator_config import EvaluatorConfig
from orchestrator.metrics import copies
from orchestrator.metrics.kneser_ney import KneserNey
from orchestrator.metrics.translation import translation_metrics
from orchestrator.open_pool import open_pool
from orchestrator.run_directory import RunDirectory
from orchestrator.state import TrainState
from orchestrator.trained import decode_by
from results import command
from workers.pool import Pool
from workers.process import settle

RESULTS = Path(__file__).parent / "results"
WAYS = {
    "sampling": Decoding(),
    "greedy": Decoding(beam=1),
    "beam of 10": Decoding(beam=10),
    "beam of 10, diverse": Decoding(beam=10, sibling_penalty=1.0, repeat_penalty=2.0),
}


FEW = ("sampling", "greedy")
"""Those without --all-ways."""


SIZES = ("examples", "held_out", "epochs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("group")
    parser.add_argument("runs", nargs="+", metavar="LABEL=RUN[:CHECKPOINT]")
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int, help="of the evaluators; their default")
    parser.add_argument("--all-ways", action="store_true", help="beams, too")
    parser.add_argument("--backward", type=Path)
    asked = parser.parse_args()
    first = RunDirectory.open(Path(_parts(asked.runs[0])[1]))[1]
    settle(first.learner.threads)
    data = load_data(first.data)
    evaluators = EvaluatorConfig(**{name: getattr(asked, name) for name in SIZES if getattr(asked, name)})
    evaluation = AdversarialEvaluation(evaluators, data, 0)
    human, train = evaluation.human, KneserNey(data.train, data.alphabet.size)
    exempt = data.codec.most_frequent(STOP_WORDS) if data.codec is not None else ()
    chosen_ways = WAYS if asked.all_ways else {name: WAYS[name] for name in FEW}
    ways = {name: replace(way, exempt=exempt) for name, way in chosen_ways.items()}
    if asked.backward is not None:
        reranked = decode_by(beam=10, backward=asked.backward)
        reranked.same_vocabulary(data.alphabet, data.codec, "--backward")
        ways["beam of 10, reranked"] = replace(reranked, exempt=exempt)
    table = {
        "evaluator": evaluation.signatures()["eval/evaluator_reliability_error"],
        "trigram_perplexity": math.exp(KneserNey(data.train, data.alphabet.size, 3).nll(data.test)),
        "digest": data.digest,
        "runs": {label: _made(Path(run), chosen) for label, run, chosen in map(_parts, asked.runs)},
        "rows": [],
    }
    for label, run, chosen in map(_parts, asked.runs):
        directory, config = RunDirectory.open(Path(run))
        directory.same_data(data.identity())
        state = TrainState.fresh(config, data.alphabet, data.length)
        found = checkpoints.load(directory.checkpoints, find_step(directory, config, chosen, "CHECKPOINT"))
        state.restore(found.tensors, found.meta["counters"])
        generator = state.generator.eval()
        with closing(open_pool(config, state)) as pool:
            pool.publish(generator, state.discriminator, state.policy)
            nll = log_likelihood(generator, data.test).per_token()
            for name, way in ways.items():
                started = time.perf_counter()
                machine = Side(
                    _replies(pool, generator, way, human.train, "train"),
                    _replies(pool, generator, way, human.test, "test"),
                )
                told = evaluation(machine)
                test = machine.test
                distinct = copies.distinct(test, data.alphabet.end, 2)
                scores, _ = translation_metrics(data.text(test.tokens), data.text(human.test.tokens))
                table["rows"].append(
                    {
                        "run": label,
                        "decoding": name,
                        "eval/nll_test": nll,
                        **told,
                        "eval/distinct_1": distinct[0],
                        "eval/distinct_2": distinct[1],
                        "eval/length_mean": test.lengths.double().mean().item(),
                        "eval/lm_score": train.nll(test),
                        **scores,
                        "shown": data.text(test.tokens[:3]),
                    }
                )
                print(
                    label, name, json.dumps(told), f"{time.perf_counter() - started:.0f} s", file=sys.stderr
                )
    path = RESULTS / asked.group / "decodings.json"
    if path.is_file():
        before = json.loads(path.read_text())
        for name in ("evaluator", "digest"):
            if before.get(name) != table[name]:
                sys.exit(f"{path} has another {name} ({before.get(name)}): take it away first")
        kept = {label: made for label, made in before["runs"].items() if label not in table["runs"]}
        table["rows"] = [row for row in before["rows"] if row["run"] in kept] + table["rows"]
        table["runs"] = kept | table["runs"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table, indent=1) + "\n")


def _made(run: Path, chosen: str) -> dict[str, Any]:
    """Which run it is: what was typed, of which commit, up to which step, and how long that took."""
    directory, config = RunDirectory.open(run)
    step = find_step(directory, config, chosen, "CHECKPOINT")
    summary = json.loads((run / "summary.json").read_text())
    tree = json.loads((run / "config.json").read_text())
    for section, key in (("data", "path"), ("init", "run"), ("run", "directory")):
        if tree[section][key]:
            tree[section][key] = Path(tree[section][key]).name
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    trained = [record for record in records if "time/step" in record["metrics"]]  # others are evaluations
    own = [record for record in trained if record["step"] <= step and not record.get("branch")]
    return {
        "command": command(tree),
        "commit": summary["versions"]["commit"],
        "step": step,
        "adversarial_steps": sum(record["stage"] == "adversarial" for record in own),
        "minutes": sum(record["metrics"]["time/step"] for record in own) / 60,
    }


def _replies(pool: Pool, generator: Generator, way: Decoding, side: Sequences, part: str) -> Sequences:
    made = way.sequences(pool, generator, side.source, len(side), (0, "decodings", part))
    return replace(made, source=side.source)


def _parts(asked: str) -> tuple[str, str, str]:
    label, _, where = asked.partition("=")
    run, _, chosen = where.partition(":")
    return label, run, chosen or "last"


if __name__ == "__main__":
    main()
