"""``advseq replay``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.printing import print_json


def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.")],
    step: Annotated[int, typer.Argument(metavar="STEP", min=1, help="A step, over all stages.")],
    control: Annotated[str | None, typer.Option(help="Of this control instead of the run itself.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compute a recorded step again and say what differs from the record, if a bit does: then exit code 1."""
    from orchestrator import replay as module

    found = module.replay(run, step, control, lambda line: print(line, file=sys.stderr))
    if json_output:
        print_json(asdict(found))
    elif found.different is None:
        print(
            f"the same to the bit: step {step}"
            + (f", and those before it from {found.checkpoint + 1} on" if found.compared > 1 else "")
        )
    else:
        print(f"step {found.different} differs: {found.difference}")
    if found.different is not None:
        if found.elsewhere:
            print(found.elsewhere, file=sys.stderr)
        raise typer.Exit(1)
