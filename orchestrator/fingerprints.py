"""What a step was computed with and what came out, as hashes, so that a replay can name what first differs.

Rows are hashed in blocks, sixteen in all, however many workers made them; networks as a whole, after the
step. How: ``orchestrator.hashing``. No torch here: the display reads this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BLOCKS = 16
"""Of the rows of one request."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of the rows of one request, a hash for each block, or of a network.

    Attributes:
        rows: how many; 0 for a network.
        hashes: in order; one for a network.
    """

    rows: int
    hashes: tuple[str, ...]

    @property
    def block(self) -> int:
        """Rows in a block."""
        return max(1, -(-self.rows // BLOCKS))


Seen = Mapping[str, Fingerprint]
"""By name, in the order in which it was computed."""


def first_difference(recorded: Seen, again: Seen) -> str | None:
    """What differs first, in the order in which it was computed, in words; None: nothing."""
    for name, before in recorded.items():
        now = again.get(name)
        if now == before:
            continue
        if now is None or now.rows != before.rows:
            return f"{name}: there were {before.rows} sequences, now there are {now.rows if now else 'none'}"
        if not before.rows:
            return f"the {name} after the step differs, although all before it is the same"
        number = next(n for n, (a, b) in enumerate(zip(before.hashes, now.hashes, strict=True)) if a != b)
        first, last = number * before.block + 1, min(before.rows, (number + 1) * before.block)
        return f"{name}: sequences {first} to {last} of {before.rows} differ"
    return None
