"""The control margin: at equal NLL_test, how much better a run is than the best of its controls.

NLL_oracle alone falls for a generator that only gets colder, and a constant reward lowers it too. A
control's evaluations form a curve of NLL_oracle against NLL_test; the run's last point is held against
every curve at its own NLL_test. For text quality is the forward LM score, and where a model has no
likelihood, breadth is self-BLEU-4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

Point = Mapping[str, float]

PLANES = tuple(
    (breadth, quality)
    for breadth in ("eval/nll_test", "eval/self_bleu_4")
    for quality in ("eval/nll_oracle", "eval/lm_score")
)
"""Breadth and quality that are held against each other, the first pair that a run has; lower is better."""


def plane(metrics: Point) -> tuple[str, str] | None:
    """Breadth and quality of a run; None where there is no such pair."""
    return next((pair for pair in PLANES if all(_defined(metrics, name) for name in pair)), None)


def _defined(metrics: Point, name: str) -> bool:
    return math.isfinite(float(metrics.get(name, math.nan)))


def control_margin(final: Point, curves: Mapping[str, Sequence[Point]]) -> float | None:
    """Nats per token by which the run lies below the best control's curve; negative where a control wins.

    Args:
        final: the run's metrics at its end.
        curves: for each control the metrics of its evaluations.

    Returns:
        None where no curve reaches the run's abscissa, or the metrics are not defined.
    """
    found = plane(final)
    if found is None:
        return None
    across, down = found
    levels = [
        level for curve in curves.values() if (level := _at(final[across], curve, across, down)) is not None
    ]
    return min(levels) - final[down] if levels else None


def _at(x: float, curve: Sequence[Point], across: str, down: str) -> float | None:
    """The lowest value of the curve at x, linear between neighbouring evaluations."""
    points = [(point[across], point[down]) for point in curve if across in point and down in point]
    values = [y for at, y in points if at == x]
    for (x0, y0), (x1, y1) in pairwise(points):
        if min(x0, x1) <= x <= max(x0, x1) and x0 != x1:
            values.append(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    return min(values, default=None)
