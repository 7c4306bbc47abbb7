"""All pictures of a run."""

from __future__ import annotations

from pathlib import Path

from orchestrator.figures import learning_curve
from orchestrator.quality_diversity import quality_diversity


def draw_pictures(run_directory: Path) -> list[Path]:
    """Draws them into the run's directory: learning_curve.png, and quality_diversity.png if defined."""
    curve = learning_curve(run_directory, run_directory / "learning_curve.png")
    plane = quality_diversity(run_directory, run_directory / "quality_diversity.png")
    return [curve] if plane is None else [curve, plane]
