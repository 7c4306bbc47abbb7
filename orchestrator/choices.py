"""What a run finds out about its machines before the first step, and keeps to when it goes on elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.run_directory import RunDirectory

_FILE = "placement.json"


def choices(directory: RunDirectory) -> dict[str, Any]:
    """All that was chosen so far, by name."""
    return dict(directory.read_json(_FILE) or {})


def keep_choice(directory: RunDirectory, choice: Mapping[str, Any]) -> None:
    """Adds to what was chosen."""
    directory.write_json(_FILE, choices(directory) | dict(choice))
