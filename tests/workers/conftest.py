"""What the tests of the Ray pool share; each module says how many workers are there (``everyone``)."""

from __future__ import annotations

from typing import Any

import pytest

from algorithms.types import Rollouts


@pytest.fixture
def workers(everyone: list[Any]) -> list[Any]:
    """All of them, alive and without trouble."""
    from toys.troubled import calmed  # imports Ray

    return calmed(everyone)


@pytest.fixture(scope="module")
def expected() -> Rollouts:
    """What one process makes of the request."""
    from toys.troubled import of_one_process

    return of_one_process(unit=3)
