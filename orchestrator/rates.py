"""Learning rates as pure functions of the epoch or step, so that resuming needs no state."""

from __future__ import annotations

import math


def falling(rate: float, decay: float, total: int, number: int) -> float:
    """A rate in the epoch or step with a number, from 0, of so many: constant, then half a cosine to zero.

    Args:
        decay: share of the whole, the last part, in which it falls.
    """
    last = decay * total
    done = (number - total + last) / last if last else 0.0
    return rate * (1 + math.cos(math.pi * max(0.0, done))) / 2
