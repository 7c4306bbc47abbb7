"""``advseq chat``: talking with a trained model in the terminal, or by lines through a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.beam_options import BackwardRun, BackwardWeight, Beam, RepeatPenalty, SiblingPenalty
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.decoding import Decoding
    from orchestrator.sampling import Sampler


def chat(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run directory, or a model in MLflow: models:/m-...")
    ],
    temperature: Annotated[float, typer.Option(min=0.01, max=10, help="Below 1 is colder.")] = 1.0,
    beam: Beam = 0,
    sibling_penalty: SiblingPenalty = 0.0,
    repeat_penalty: RepeatPenalty = 0.0,
    backward: BackwardRun = None,
    backward_weight: BackwardWeight = None,
    history: Annotated[
        int | None,
        typer.Option(min=1, help="Turns that it is told, its own among them; what it was trained with."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal replies.")] = 0,
    checkpoint: Annotated[str, typer.Option(metavar="best|last|STEP", help="Which one.")] = "best",
    runs: Annotated[Path, typer.Option(help="The folder whose MLflow store holds the model.")] = Path("runs"),
) -> None:
    """Talk with a model of dialogues or pairs. A line is a turn; an empty one begins anew."""
    from orchestrator.trained import decode_by, sampler_of

    decoding = decode_by(temperature, beam, sibling_penalty, repeat_penalty, backward, weight=backward_weight)
    sampler = sampler_of(run, checkpoint, runs)
    if not sampler.generator.conditional:
        raise UserError(f"{run} answers nothing: chat wants a model with sources; try: advseq sample {run}")
    decoding.same_vocabulary(sampler.generator.alphabet, sampler.codec, "--backward")
    told = history or sampler.turns
    turns: list[str] = []
    for number, line in enumerate(_lines()):
        if not line:
            turns = []
            continue
        turns = [*turns, line][-told:]
        reply = answer(sampler, turns, decoding, seed + number)
        typer.echo(reply)
        if reply:
            turns = [*turns, reply]


def answer(sampler: Sampler, turns: list[str], decoding: Decoding, seed: int) -> str:
    """One reply to some turns, the latest last."""
    if decoding.beam:
        return sampler.likeliest(turns, decoding)
    return sampler.sample(1, decoding.temperature, seed, history=turns)[0]


def _lines() -> Iterator[str]:
    """What is said, without outer blanks, until the end of the input; a prompt where a person types it."""
    person = sys.stdin.isatty()
    while True:
        if person:
            typer.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line.strip()
