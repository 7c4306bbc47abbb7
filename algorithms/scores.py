"""What a rollout worker may be asked to think of a sequence: named functions, no paper among them.

A score is a plain module-level function, so that it can be pickled and so that its name is all that
has to be sent. It returns the raw number; what becomes of it (a sigmoid, an exponential, a mean over
completions) belongs to the algorithm.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from algorithms.bleu import References, sentence_bleu
from algorithms.models.base import Scorer
from algorithms.types import Rows

ScoreFunction = Callable[[Scorer, Rows, References | None], Tensor]
"""(scorer, rows, reference) -> [R] float32. The caller puts the discriminator into evaluation mode."""


@dataclass(frozen=True)
class Score:
    """A way to judge whole sequences.

    Attributes:
        function: judges R sequences at once.
        neutral: the score that says nothing either way; a constant reward uses it.
    """

    function: ScoreFunction
    neutral: float


def logit(scorer: Scorer, rows: Rows, reference: References | None) -> Tensor:
    """The discriminator's logit, log D - log(1 - D): [R] float32."""
    return scorer.logits(rows)


def bleu_2(scorer: Scorer, rows: Rows, reference: References | None) -> Tensor:
    """Sentence BLEU-2 against the reference set: [R] float32."""
    return _bleu(rows, reference, 2)


def bleu_3(scorer: Scorer, rows: Rows, reference: References | None) -> Tensor:
    """Sentence BLEU-3 against the reference set: [R] float32."""
    return _bleu(rows, reference, 3)


def bleu_4(scorer: Scorer, rows: Rows, reference: References | None) -> Tensor:
    """Sentence BLEU-4 against the reference set: [R] float32."""
    return _bleu(rows, reference, 4)


SCORES: dict[str, Score] = {
    "logit": Score(logit, neutral=0.0),
    "bleu_2": Score(bleu_2, neutral=0.5),
    "bleu_3": Score(bleu_3, neutral=0.5),
    "bleu_4": Score(bleu_4, neutral=0.5),
}


def lookup(name: str) -> Score:
    """The score of that name.

    Raises:
        ValueError: for an unknown name; says which one is nearest.
    """
    if name in SCORES:
        return SCORES[name]
    near = difflib.get_close_matches(name, SCORES, n=1, cutoff=0.0)[0]
    raise ValueError(f"there is no score {name!r}: did you mean {near!r}? There are {', '.join(SCORES)}")


def _bleu(rows: Rows, reference: References | None, n: int) -> Tensor:
    if reference is None:
        raise ValueError(f"bleu_{n} compares with real sequences: give it references")
    return sentence_bleu(rows.sequences, reference, n)
