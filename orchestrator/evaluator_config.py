"""What evaluators of replies are, and how they learn."""

from __future__ import annotations

from pydantic import Field

from algorithms.config import Frozen
from algorithms.models.hierarchical import Hierarchical


class EvaluatorNetwork(Hierarchical.Config):
    """The network that D is in the dialogue recipes, small, with a start from which it learns."""

    embedding: int = Field(64, ge=1, le=65_536)
    """Width of the token embedding."""

    hidden: int = Field(64, ge=1, le=65_536)
    """Width of both LSTMs."""

    init_range: float = Field(0.5, gt=0, le=10)
    """Every parameter starts as U(-init_range, init_range)."""


class EvaluatorConfig(Frozen):
    """The evaluators, which tell machines from humans."""

    network: EvaluatorNetwork = EvaluatorNetwork()
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
