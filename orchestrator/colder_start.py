"""The control without training: the generator as the adversarial stage found it, sampled colder.

Caccia et al. 2020 ("Language GANs Falling Short"): a model trained by maximum likelihood reaches any
NLL_oracle by lowering its temperature, so a GAN must be compared with the whole curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

Point: TypeAlias = dict[str, float]

Measure: TypeAlias = Callable[[float], Point]
"""The metrics of the start at a temperature, which is among them."""

TEMPERATURES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
"""The curve: from the model as trained to where a language model has collapsed (section 8.1 there: 0.5)."""

BISECTIONS = 5


def colder_curve(at: Measure, stop: Callable[[], bool] = lambda: False) -> list[Point] | None:
    """Metrics of the start at each temperature, or None if it was stopped."""
    curve = []
    for temperature in TEMPERATURES:
        if stop():
            return None
        curve.append(at(temperature))
    return curve


def matching_point(final: Mapping[str, float], curve: list[Point], at: Measure) -> Point:
    """The temperature at which the start is as good as the run's end, and all its metrics there.

    Matched on NLL_oracle, or on self-BLEU-4 where there is no oracle, by bisection. Where no temperature
    of the curve reaches the run's value, the nearest end of the curve.
    """
    metric, sign = ("eval/nll_oracle", 1.0) if "eval/nll_oracle" in final else ("eval/self_bleu_4", -1.0)
    wanted = sign * final[metric]
    warm, cold = curve[0], curve[-1]
    if wanted >= sign * warm[metric]:
        return warm
    if wanted <= sign * cold[metric]:
        return cold
    for point in curve:  # the narrowest pair of the curve that encloses the value
        if sign * point[metric] > wanted:
            warm = point
        else:
            cold = point
            break
    for _ in range(BISECTIONS):
        middle = math.sqrt(warm["temperature"] * cold["temperature"])
        point = at(middle)
        if sign * point[metric] > wanted:
            warm = point
        else:
            cold = point
    return min(warm, cold, key=lambda point: abs(sign * point[metric] - wanted))
