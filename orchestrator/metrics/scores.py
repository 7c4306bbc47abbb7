"""What was measured of samples, and the signature of how each number was computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured.

    Attributes:
        metrics: by metric name.
        undefined: names of what these data do not define.
        signatures: by metric name, or by what several names begin with.
    """

    metrics: dict[str, float]
    undefined: tuple[str, ...]
    signatures: dict[str, str]

    def __or__(self, other: Scores) -> Scores:
        return Scores(
            self.metrics | other.metrics,
            (*self.undefined, *other.undefined),
            self.signatures | other.signatures,
        )


class Found:
    """Collects metrics: what has no value is undefined."""

    def __init__(self) -> None:
        self._metrics: dict[str, float] = {}
        self._undefined: list[str] = []
        self._signatures: dict[str, str] = {}

    def add(self, name: str, value: float, signature: str | None = None) -> None:
        if math.isfinite(value):
            self._metrics[name] = value
        else:
            self._undefined.append(name)
        if signature is not None:
            self.sign(name, signature)

    def when(self, given: T | None, names: Sequence[str], values: Callable[[T], Sequence[float]]) -> None:
        """Adds what can be computed from something, if it is there."""
        found = [math.nan] * len(names) if given is None else values(given)
        for name, value in zip(names, found, strict=True):
            self.add(name, value)

    def sign(self, name: str, signature: str) -> None:
        self._signatures[name] = signature

    def scores(self) -> Scores:
        return Scores(self._metrics, tuple(self._undefined), self._signatures)


def signed(metrics: Mapping[str, float], signatures: Mapping[str, str]) -> dict[str, str]:
    """The signature of each metric that has one: its own, or that of the longest name that it begins with."""
    found = {}
    for name in metrics:
        starts = [start for start in signatures if name == start or name.startswith(f"{start}_")]
        if starts:
            found[name] = signatures[max(starts, key=len)]
    return found
