"""``advseq evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.beam_options import BackwardRun, BackwardWeight, Beam, RepeatPenalty, SiblingPenalty
from orchestrator.errors import UserError
from orchestrator.metrics.protocol import PROTOCOLS
from orchestrator.printing import print_json, print_shown


def evaluate(
    what: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run directory, or a file of samples.")],
    reference: Annotated[
        Path | None, typer.Option(help="Held-out text to measure against; a run has its own.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="What the generator of a FILE learned from.")] = None,
    protocol: Annotated[
        str, typer.Option(help=f"How the words and BLEU of a FILE are made: {', '.join(PROTOCOLS)}.")
    ] = "word",
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Each line of FILE has its own in --reference: BLEU and chrF.")
    ] = False,
    checkpoint: Annotated[str, typer.Option(help="Of a RUN: best, last, or a step.")] = "best",
    samples: Annotated[
        int | None, typer.Option(min=2, help="Samples measured; the recipe's number, or all of FILE.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.01, max=10, help="Of a RUN: divides the logits.")] = 1.0,
    beam: Beam = 0,
    sibling_penalty: SiblingPenalty = 0.0,
    repeat_penalty: RepeatPenalty = 0.0,
    backward: BackwardRun = None,
    backward_weight: BackwardWeight = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples of a RUN.")] = 0,
    mauve: Annotated[
        bool, typer.Option("--mauve", help="Measure MAUVE of a FILE, too; needs advseq[mauve].")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")
    ] = False,
) -> None:
    """Measure a run's generator again, or any file of samples, by all metrics."""
    if what.is_dir() or not what.exists():
        _refuse(
            "a run", {"--train": train, "--pairs": pairs, "--protocol": protocol != "word", "--mauve": mauve}
        )
        from orchestrator.trained import decode_by, evaluate_run

        decoding = decode_by(
            temperature, beam, sibling_penalty, repeat_penalty, backward, weight=backward_weight
        )
        result: dict[str, Any] = evaluate_run(
            what, checkpoint, samples=samples, decoding=decoding, seed=seed, reference=reference
        )
    else:
        _refuse(
            "a file of samples",
            {
                "--checkpoint": checkpoint != "best",
                "--temperature": temperature != 1.0,
                "--beam": beam,
                "--sibling-penalty": sibling_penalty,
                "--repeat-penalty": repeat_penalty,
                "--backward": backward,
                "--backward-weight": backward_weight is not None,
                "--seed": seed,
            },
        )
        result = _of_file(what, reference, train, protocol, samples, pairs=pairs, mauve=mauve)
    if json_output:
        print_json(result)
        return
    from orchestrator.metrics_table import metrics_table

    print_shown(metrics_table(result))
    for name, text in sorted({text: name for name, text in result["signatures"].items()}.items()):
        print_shown(f"[dim]{text}: {name}[/dim]")


def _of_file(
    file: Path,
    reference: Path | None,
    train: Path | None,
    protocol: str,
    samples: int | None,
    *,
    pairs: bool,
    mauve: bool,
) -> dict[str, Any]:
    from orchestrator.samples_file import evaluate_file, evaluate_pairs

    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol {protocol}: wanted one of {', '.join(PROTOCOLS)}")
    if pairs:
        if reference is None:
            raise UserError("--pairs needs --reference FILE, with one line for each line of the samples")
        _refuse("pairs", {"--train": train, "--protocol": protocol != "word", "--samples": samples})
        return evaluate_pairs(file, reference)
    return evaluate_file(file, reference, train, protocol=protocol, samples=samples, with_mauve=mauve)


def _refuse(of: str, given: dict[str, Any]) -> None:
    """Options that would be without effect are mistakes."""
    for option, value in given.items():
        if value:
            raise UserError(f"{option} means nothing for {of}: leave it out (advseq evaluate --help)")
