"""Which checkpoint of a run is meant by a word or a number."""

from __future__ import annotations

from orchestrator import checkpoints
from orchestrator.best import best_evaluation
from orchestrator.config import RunConfig
from orchestrator.errors import UserError
from orchestrator.journal import Journal
from orchestrator.run_directory import RunDirectory


def find_step(directory: RunDirectory, config: RunConfig, checkpoint: str, setting: str) -> int:
    """The step that ``best``, ``last`` or a number means in a run.

    Args:
        config: the run's.
        checkpoint: what was asked for.
        setting: by which option or setting, for the message.

    Raises:
        UserError: the run has no such checkpoint; the message lists those that it has.
    """
    steps = checkpoints.steps(directory.checkpoints)
    if not steps:
        raise UserError(f"{directory.path} has no checkpoint yet: let it train for a while")
    if checkpoint == "last":
        return steps[-1]
    if checkpoint == "best":
        best = best_evaluation(Journal(directory.path / "metrics.jsonl"), config)
        return best.step if best is not None and best.step in steps else steps[-1]
    if not checkpoint.isdecimal() or int(checkpoint) not in steps:
        raise UserError(
            f"{setting} {checkpoint}: wanted best, last or one of the steps {', '.join(map(str, steps))}"
        )
    return int(checkpoint)
