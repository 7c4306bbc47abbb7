"""What a run came to: ``summary.json``, written last, and rebuilt whole whenever it is written."""

from __future__ import annotations

from typing import Any

from orchestrator.best import best_metric
from orchestrator.branch import ADVERSARIAL, Branch
from orchestrator.config import RunConfig
from orchestrator.control_runs import ControlResults
from orchestrator.journal import Record
from orchestrator.margin import control_margin
from orchestrator.metrics.scores import signed
from orchestrator.run_directory import processor, versions


def summarize(
    config: RunConfig,
    main: Branch,
    controls: ControlResults,
    *,
    complete: bool,
    wall_s: float,
) -> dict[str, Any]:
    """All of the summary but its status.

    Args:
        complete: whether all controls that were asked for are there; the control margin needs them.
        wall_s: seconds of training, all attempts together.
    """
    evaluations = main.evaluations()
    final = _final(main)
    before = [record for record in evaluations if record.stage != ADVERSARIAL]
    best = main.best()
    undefined = set(main.told.undefined)
    if complete and controls.curves and any(record.stage == ADVERSARIAL for record in evaluations):
        margin = control_margin(final, controls.curves)
        if margin is None:
            undefined.add("eval/control_margin")
        else:
            final["eval/control_margin"] = margin
    metric, sign = best_metric(config), 1.0 if config.best.direction == "minimize" else -1.0
    lowest = min(
        (r for r in before if metric in r.metrics), key=lambda r: sign * r.metrics[metric], default=None
    )
    seconds = [r.metrics["time/step"] for r in main.journal.read() if "time/step" in r.metrics]
    return {
        "recipe": config.recipe,
        "algorithm": config.algorithm.name,
        "data": main.data.name,
        "seed": config.seed,
        "steps": main.position.step,
        "metrics": final,
        "best": {"step": best.step, "metric": best.metric, "value": best.value} if best else {},
        "baseline": dict(before[-1].metrics) if before else {},
        "pretraining_lowest": {metric: lowest.metrics[metric], "step": lowest.step} if lowest else {},
        "controls": controls.ends,
        "curves": controls.curves,
        "temperatures": controls.temperatures,
        "undefined": sorted(undefined),
        "signatures": signed(final, main.told.signatures),
        "real": dict(main.told.real),
        "parameters_sha256": main.parameters_sha256,
        "wall_s": wall_s,
        "exact": main.device.get("exact", True),
        "throughput": {"steps_per_s": len(seconds) / sum(seconds) if sum(seconds) else 0.0},
        "processor": processor(),
        "versions": versions(),
    }


def _final(main: Branch) -> dict[str, float]:
    """The last value of every metric, those of the last step first."""
    final: dict[str, float] = {}
    last: Record | None = None
    for record in main.journal.read():
        final |= record.metrics
        last = record
    return final if last is not None else {}
