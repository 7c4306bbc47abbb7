"""Which evaluation of a run is the best one, by the metric that its configuration names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from algorithms.registry import build
from orchestrator.config import RunConfig
from orchestrator.errors import UserError
from orchestrator.journal import Journal


@dataclass(frozen=True, slots=True)
class Best:
    """The evaluation that ``--checkpoint best`` means."""

    step: int
    metric: str
    value: float


def best_metric(config: RunConfig) -> str:
    """The metric that chooses the best checkpoint, ``auto`` resolved by what the data allows."""
    if config.best.metric != "auto":
        return config.best.metric
    return "eval/nll_oracle" if config.data.path is None else "eval/nll_validation"


def best_evaluation(journal: Journal, config: RunConfig) -> Best | None:
    """The best evaluation of the algorithm's last stage that a journal holds, by the configured metric."""
    metric, sign = best_metric(config), 1.0 if config.best.direction == "minimize" else -1.0
    last = build(config.algorithm).stages[-1]
    records = [r for r in journal.read() if metric in r.metrics and r.stage == last]
    if not records:
        return None
    chosen = min(records, key=lambda record: (sign * record.metrics[metric], record.step))
    return Best(chosen.step, metric, chosen.metrics[metric])


def check_best_metric(config: RunConfig, metrics: Mapping[str, float]) -> None:
    """Makes sure that the metric which chooses the best checkpoint is among those that are measured.

    Raises:
        UserError: it is not; the message names the nearest one.
    """
    judged = {"eval/d_accuracy_real", "eval/d_accuracy_fake", "eval/d_auc"}
    wanted, known = best_metric(config), {*metrics, *judged}
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, 1, 0.4)
        raise UserError(
            f"best.metric = {wanted} is not measured here"
            + (f": did you mean {near[0]}?" if near else "")
            + f" Known are {', '.join(sorted(known))}"
        )
