"""Phases are chosen by name."""

from __future__ import annotations

import pytest

from orchestrator.bench.names import NAMES, chosen
from orchestrator.errors import UserError


def test_some_phases_in_the_order_of_the_table():
    assert chosen([]) == NAMES
    assert chosen(["checkpoint", "mle_step"]) == ("mle_step", "checkpoint")
    with pytest.raises(UserError, match="did you mean 'mle_step'"):
        chosen(["mle_stp"])
