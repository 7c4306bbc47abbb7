"""Limits beyond which training no longer means anything: what they are, and what happens there.

Looked at after every step, before its state is committed: the last checkpoint is always from before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import Field

from algorithms.config import Frozen
from orchestrator.errors import GuardError


class GuardConfig(Frozen):
    """What a run that no longer means anything is told by. A loss that is not finite always ends it."""

    policy: Literal["stop", "warn", "off"] = "warn"
    """What happens beyond the limits: the run ends with exit code 4 and its last checkpoint from before; or
    a warning; or nothing."""

    grad_norm: float = Field(1e6, gt=0)
    """The greatest norm of a network's gradient, before it is clipped, as the mean of a step."""

    unique_rate: float = Field(0.02, ge=0, le=1)
    """The smallest share of distinct sequences among the samples of an evaluation."""

    entropy: float = Field(0.02, ge=0)
    """The smallest entropy of the samples of an evaluation, in nats per token."""

    effective_samples: float = Field(1.1, ge=0)
    """The smallest effective size of the groups that share importance weights: at 1 one sample has all."""


class Guards:
    """The guards of one branch."""

    def __init__(
        self, config: GuardConfig, where: str, warn: Callable[[str], None], *, stops: bool = True
    ) -> None:
        """
        Args:
            where: the run or the control, for messages.
            stops: whether the policy "stop" holds; a control that collapses is a result.
        """
        self._config, self._where, self._warn = config, where, warn
        self._stops = stops and config.policy == "stop"
        self._told: set[str] = set()

    def check(self, step: int, metrics: Mapping[str, float]) -> None:
        """Looks at what was measured at a step; a warning is given once for each metric.

        Raises:
            GuardError: a loss is not finite, or a limit was passed and the policy is to stop.
        """
        for name, value in metrics.items():
            if name.startswith("loss/") and not math.isfinite(value):
                raise GuardError(
                    f"{name} is {value} at step {step} of {self._where}: training has diverged. The last "
                    "checkpoint is from before; start again from it with a lower learning rate (init.run)"
                )
        if self._config.policy == "off":
            return
        for name, beyond in self._beyond(metrics).items():
            problem = f"{name} = {metrics[name]:.4g} at step {step} of {self._where}: {beyond}"
            if self._stops:
                raise GuardError(
                    f"{problem}. The last checkpoint is from before; start a new run from it with a lower "
                    "learning rate (init.run), or resume all the same with guards.policy=warn"
                )
            if name not in self._told:
                self._told.add(name)
                self._warn(f"{problem}. Watch it; guards.policy=stop would have ended the run here")

    def _beyond(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """Metrics that have passed their limits, and what that means."""
        limit = self._config
        found = {}
        for name in ("g/grad_norm", "d/grad_norm"):
            if metrics.get(name, 0.0) > limit.grad_norm:
                found[name] = f"gradients explode (guards.grad_norm = {limit.grad_norm:g})"
        if metrics.get("eval/unique_rate", 1.0) < limit.unique_rate:
            found["eval/unique_rate"] = (
                f"the generator repeats itself, it has collapsed (guards.unique_rate = {limit.unique_rate:g})"
            )
        if metrics.get("eval/entropy", math.inf) < limit.entropy:
            found["eval/entropy"] = (
                f"the generator has hardly a choice, it has collapsed (guards.entropy = {limit.entropy:g})"
            )
        if metrics.get("adv/effective_sample_size", math.inf) < limit.effective_samples:
            found["adv/effective_sample_size"] = (
                "one sample of each group takes all the weight, the others teach nothing "
                f"(guards.effective_samples = {limit.effective_samples:g})"
            )
        return found
