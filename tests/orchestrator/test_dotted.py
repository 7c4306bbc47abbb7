"""Dotted keys."""

from __future__ import annotations

from orchestrator.dotted import flatten


def test_sections_become_dots_and_lists_stay_whole():
    tree = {"seed": 1, "a": {"b": {"c": 2.5}, "d": None}, "e": [1, {"f": 2}], "g": {}}
    assert flatten(tree) == {"seed": 1, "a.b.c": 2.5, "a.d": None, "e": [1, {"f": 2}]}
