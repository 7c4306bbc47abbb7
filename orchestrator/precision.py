"""In what products are computed, float32 or bfloat16: as asked for, as the run has chosen, or chosen now."""

from __future__ import annotations

from collections.abc import Callable

from algorithms.types import PRECISIONS, Precision
from orchestrator.choices import choices, keep_choice
from orchestrator.config import RunConfig
from orchestrator.errors import UserError
from orchestrator.learner import MOST_DEVIATION, Learner
from orchestrator.run_directory import RunDirectory

Say = Callable[[str], None]

_KEPT = {"scoring.precision": "precision", "learner.precision": "learning"}
"""By setting, under which name a run keeps what it has chosen."""


def settle_precision(
    config: RunConfig, learner: Learner, directory: RunDirectory, say: Say, warn: Say
) -> None:
    """Tells the learner, once it has its pool and before the first step; chooses what is left to a trial."""
    asked, known = _asked(config), choices(directory)
    for setting, fast in (
        ("scoring.precision", learner.fast_bf16),
        ("learner.precision", learner.learns_fast_in_bf16),
    ):
        if asked[setting] == "bf16" and not fast():
            warn(f"{setting}=bf16, but there are no instructions for it: fp32 is faster here")
    if asked["scoring.precision"] == "auto" and "precision" not in known:
        deviation = learner.precision_deviation() if learner.fast_bf16() else None
        scores = "bf16" if deviation is not None and deviation <= MOST_DEVIATION else "fp32"
        keep_choice(directory, {"precision": scores, "precision_deviation": deviation})
        say(f"scores are computed in {scores}")
    if asked["learner.precision"] == "auto" and "learning" not in known:
        learning = "bf16" if learner.learns_fast_in_bf16() else "fp32"
        keep_choice(directory, {"learning": learning})
        say(f"the discriminator learns in {learning}")
    learner.set_precision(*chosen_precision(config, directory))


def chosen_precision(config: RunConfig, directory: RunDirectory) -> tuple[Precision, Precision]:
    """Of the scores, and of the products with which the discriminator learns, as the run computes them.

    Raises:
        UserError: it was left to the run, which has not kept its choice.
    """
    asked, known = _asked(config), choices(directory)
    return _chosen("scoring.precision", asked, known), _chosen("learner.precision", asked, known)


def _asked(config: RunConfig) -> dict[str, str]:
    return {"scoring.precision": config.scoring.precision, "learner.precision": config.learner.precision}


def _chosen(setting: str, asked: dict[str, str], known: dict[str, object]) -> Precision:
    wanted = known.get(_KEPT[setting]) if asked[setting] == "auto" else asked[setting]
    for precision in PRECISIONS:
        if wanted == precision:
            return precision
    raise UserError(
        f"{setting}=auto, and placement.json says {wanted!r} of it instead of {' or '.join(PRECISIONS)}: "
        "put the file back as it was"
    )
