"""What evaluators of replies are, and how they learn."""

from __future__ import annotations

from pydantic import Field

from algorithms.config import Frozen
from algorithms.models.hierarchical import Hierarchical
from algorithms.models.registry import DiscriminatorConfig


class EvaluatorConfig(Frozen):
    """The evaluators, which tell machines from humans."""

    network: DiscriminatorConfig = Hierarchical.Config(embedding=64, hidden=64, init_range=0.5)
    """What they are."""

    examples: int = Field(10_000, ge=16)
    """Training histories, with a human and a machine's reply to each; at most as many as there are."""

    held_out: int = Field(2_000, ge=4)
    """Held-out histories that it is tried on, likewise."""

    epochs: int = Field(4, ge=1)
    """Passes over the training pairs."""

    batch: int = Field(64, ge=1)
    """Pairs in a minibatch."""

    lr: float = Field(4e-3, gt=0, le=10)
    """Adam's rate."""
