"""Scores of lines that each have a reference of their own, as in translation: by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF


def translation_metrics(
    lines: Sequence[str], references: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Corpus BLEU and chrF, 0 to 100, with sacrebleu's own signatures (Post 2018, Popovic 2015).

    Args:
        lines: detokenised.
        references: as many, in the same order.

    Raises:
        ValueError: the numbers differ, or there are none.
    """
    if len(lines) != len(references) or not lines:
        raise ValueError(
            f"each line needs the reference of the same number, got {len(lines)} and {len(references)}"
        )
    values, signatures = {}, {}
    for name, metric in (("eval/bleu_corpus", BLEU()), ("eval/chrf", CHRF())):
        values[name] = float(metric.corpus_score(list(lines), [list(references)]).score)
        signatures[name] = f"sacrebleu:{metric.get_signature()}"
    return values, signatures
