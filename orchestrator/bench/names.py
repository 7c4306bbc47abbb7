"""The names of the phases, apart from what measures them: a wrong one is an error before torch is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from orchestrator.errors import UserError

NAMES: Final = (
    "credits_fp32", "credits_bf16", "completions", "scoring", "generator_step", "discriminator_step",
    "discriminator_step_bf16", "mle_step", "sample_negatives", "weights_publish", "weights_load",
    "checkpoint",
)  # fmt: skip
"""All phases, in the order of the table."""


def chosen(only: Sequence[str]) -> tuple[str, ...]:
    """The phases with these names, all where none is given, in the order of the table.

    Raises:
        UserError: there is no such phase.
    """
    for name in only:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1, 0.0)[0]
            raise UserError(
                f"--only {name}: there is no such phase; did you mean {near!r}? There are {', '.join(NAMES)}"
            )
    return tuple(name for name in NAMES if name in only or not only)
