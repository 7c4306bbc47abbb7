"""What one epoch, round or step has to tell: means of what its updates report, times, fingerprints."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from algorithms.types import Rollouts, Sequences
from orchestrator.fingerprints import Fingerprint
from orchestrator.hashing import of_rows


def drawn(sequences: Sequences) -> tuple[Tensor, ...]:
    """What was drawn of some sequences: their tokens, and the latent z that they come from."""
    vector = None if sequences.source is None else sequences.source.vector
    return (sequences.tokens,) if vector is None else (sequences.tokens, vector)


def describe_rollouts(fake: Rollouts, credit: Tensor) -> Mapping[str, Tensor]:
    """What is worth knowing of a generator batch whatever the algorithm: credits [B, T] and entropy."""
    mask = fake.sequences.mask
    earned = credit[mask]
    return {
        "reward/mean": earned.mean(),
        "reward/std": earned.std(correction=0),
        "reward/min": earned.min(),
        "reward/max": earned.max(),
        "adv/positive_ratio": (earned > 0).float().mean(),
        "g/entropy": -fake.log_prob[mask].mean(),
    }


class StepMetrics:
    """Means of what a unit of training reports, and sums of its times; read once, at the end."""

    def __init__(self) -> None:
        self._values: defaultdict[str, list[Tensor]] = defaultdict(list)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self.seen: dict[str, Fingerprint] = {}
        """What it was computed with, in order."""

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        for name, value in metrics.items():
            self._values[name].append(value)

    def saw(self, what: str, *tensors: Tensor) -> None:
        """Notes what was computed with, [R, ...] each: the first such thing of the step is number 1."""
        number = 1 + sum(name.rpartition(" ")[0] == what for name in self.seen)
        self.seen[f"{what} {number}"] = of_rows(*tensors)

    def timed(self, name: str) -> _Timer:
        return _Timer(name, self._seconds)

    def means(self) -> dict[str, float]:
        means = {
            name: torch.stack(list(values)).float().mean().item() for name, values in self._values.items()
        }
        return means | dict(self._seconds)


class _Timer:
    def __init__(self, name: str, seconds: defaultdict[str, float]) -> None:
        self._name, self._seconds = name, seconds

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._name] += time.perf_counter() - self._started
