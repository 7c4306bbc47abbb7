"""Options of the commands that search for the best reply: evaluate and chat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Beam = Annotated[
    int, typer.Option(min=0, max=100, help="Hypotheses of beam search; 1: greedy. 0: replies are drawn.")
]
SiblingPenalty = Annotated[
    float, typer.Option(min=0, help="Of a beam: nats for each better child of the same hypothesis.")
]
RepeatPenalty = Annotated[
    float,
    typer.Option(min=0, help="Of a beam: nats for a word that is there already, but the most frequent."),
]
BackwardRun = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Of a beam: a run with data.reverse=true, which reranks the replies."),
]
BackwardWeight = Annotated[
    float | None, typer.Option(min=0, max=1, help="What that run's opinion counts; 0.5.")
]
