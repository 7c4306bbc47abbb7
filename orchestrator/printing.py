"""What commands print on standard output: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def print_shown(shown: Any) -> None:
    """Prints a rich table or text, as wide as the terminal."""
    from rich.console import Console as RichConsole

    RichConsole().print(shown)


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table whose first column is never wrapped."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(head):
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    print_shown(table)


def print_json(document: Any) -> None:
    """One JSON document, and nothing else."""
    print(json.dumps(document, indent=1, default=str))
