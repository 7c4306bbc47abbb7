"""Any text file of samples, measured as a run's own are: what other systems generated can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from algorithms.types import Sequences
from orchestrator.errors import UserError
from orchestrator.metrics.mauve import mauve_lacks
from orchestrator.metrics.protocol import PROTOCOLS, words_of
from orchestrator.metrics.scores import signed
from orchestrator.metrics.suite import Suite
from orchestrator.text_file import text_lines


def evaluate_file(
    file: Path,
    reference: Path | None = None,
    train: Path | None = None,
    *,
    protocol: str = "word",
    samples: int | None = None,
    with_mauve: bool = False,
) -> dict[str, Any]:
    """The metrics of the samples in a file, one a line.

    Args:
        reference: real sequences that the generator has not seen.
        train: what it learned from.
        protocol: one of ``PROTOCOLS``.
        samples: only so many first lines.

    Returns:
        file, reference, train, protocol, samples, blank_lines, metrics, real (the same of training
        sequences), undefined, signatures.

    Raises:
        UserError: a file cannot be used, or the references are what was learned from.
    """
    if with_mauve and (lacking := mauve_lacks()):
        raise UserError(f"--mauve: {lacking}")
    read = {"the samples": file, "--reference": reference, "--train": train}
    lines = {what: text_lines(path, what) for what, path in read.items() if path is not None}
    kept = {what: [line for line in found if line] for what, found in lines.items()}
    sampled, real, learned = (kept.get(what) for what in read)
    assert sampled is not None
    sampled = sampled[:samples]
    if real is not None and learned is not None:
        _held_out(real, learned)
    cut = words_of(PROTOCOLS[protocol].tokeniser)
    numbers: dict[str, int] = {}
    train_rows, test_rows = (
        None if part is None else _numbered([cut(line) for line in part], numbers) for part in (learned, real)
    )
    vocabulary = len(numbers) + 1  # that of the real text: the same whatever was sampled
    rows = _numbered([cut(line) for line in sampled], numbers)
    suite = Suite(
        list(numbers),
        None,
        train=train_rows,
        test=test_rows,
        protocol=PROTOCOLS[protocol],
        vocabulary=vocabulary,
        with_mauve=with_mauve,
    )
    scores = suite.quick(rows) | suite.thorough(rows)
    return {
        "file": str(file),
        "reference": None if reference is None else str(reference),
        "train": None if train is None else str(train),
        "protocol": protocol,
        "samples": len(rows),
        "blank_lines": len(lines["the samples"]) - len(kept["the samples"]),
        "metrics": scores.metrics,
        "real": suite.real(len(rows)),
        "undefined": list(scores.undefined),
        "signatures": {
            name: f"{text}|words:{PROTOCOLS[protocol].tokeniser}"
            for name, text in signed(scores.metrics, scores.signatures).items()
        },
    }


def evaluate_pairs(file: Path, reference: Path) -> dict[str, Any]:
    """Corpus BLEU and chrF of lines that each have a reference of their own, as in translation.

    Raises:
        UserError: a file cannot be used, or one has more lines than the other.
    """
    from orchestrator.metrics.translation import translation_metrics

    lines, references = text_lines(file, "the samples"), text_lines(reference, "--reference")
    if len(lines) != len(references):
        raise UserError(
            f"--pairs: {file} has {len(lines):,} lines and {reference} has {len(references):,}; "
            "each line is held against the reference of the same number"
        )
    metrics, signatures = translation_metrics(lines, references)
    return {
        "file": str(file),
        "reference": str(reference),
        "samples": len(lines),
        "metrics": metrics,
        "undefined": [],
        "signatures": signatures,
    }


def _held_out(real: Sequence[str], learned: Sequence[str]) -> None:
    known = set(learned)
    shared = sum(line in known for line in real)
    if shared > len(real) / 2:
        raise UserError(
            f"{shared:,} of the {len(real):,} lines of --reference are in --train, too: held against those, "
            "a copy of the training data is the best generator. Give references that were held out"
        )


def _numbered(rows: Sequence[Sequence[str]], numbers: dict[str, int]) -> Sequences:
    """Words as ids, new ones in the order in which they come."""
    ids = [[numbers.setdefault(word, len(numbers)) for word in row] for row in rows]
    tokens = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.int64)
    for row, found in zip(tokens, ids, strict=True):
        row[: len(found)] = torch.tensor(found)
    return Sequences(tokens, torch.tensor([len(row) for row in ids]))
