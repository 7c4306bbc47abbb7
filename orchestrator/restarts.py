"""How often in a row something that died is made again."""

from __future__ import annotations

from collections.abc import Hashable


class Restarts:
    """A budget that is full again after progress: what dies at the same place every time is given up, what
    dies now and then is not."""

    def __init__(self, limit: int) -> None:
        """
        Args:
            limit: restarts without progress between them.
        """
        self.limit = limit
        self.total = 0
        self._in_a_row = 0
        self._reached: set[Hashable] = set()

    def reached(self, place: Hashable) -> None:
        """A place of the work was left behind; it is progress where that has never happened before."""
        if place not in self._reached:
            self._reached.add(place)
            self._in_a_row = 0

    def another(self) -> bool:
        """Whether one more restart is left; it counts."""
        if self._in_a_row >= self.limit:
            return False
        self._in_a_row += 1
        self.total += 1
        return True
