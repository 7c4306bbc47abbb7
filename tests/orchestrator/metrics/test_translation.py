"""Corpus BLEU and chrF of lines with a reference each."""

from __future__ import annotations

import math

import pytest

from orchestrator.metrics.translation import translation_metrics


def test_by_hand():
    # sat in the place of is: words 5/6, pairs 3/5, threes 1/4, fours 0 of 3, which is smoothed to 1/2 of 3
    metrics, signatures = translation_metrics(["the cat sat on the mat"], ["the cat is on the mat"])
    expected = 100 * math.exp(sum(map(math.log, (5 / 6, 3 / 5, 1 / 4, 1 / 6))) / 4)
    assert metrics["eval/bleu_corpus"] == pytest.approx(expected, abs=1e-6)
    assert 0 < metrics["eval/chrf"] < 100
    assert signatures["eval/bleu_corpus"].startswith("sacrebleu:nrefs:1|case:mixed|")
    assert "tok:13a" in signatures["eval/bleu_corpus"]
    assert "nc:6" in signatures["eval/chrf"]


def test_range_order_and_special_lines():
    lines, references = ["a b c d e", "", "x"], ["a b c d e", "f g", "y"]
    metrics, _ = translation_metrics(lines, references)
    turned, _ = translation_metrics(lines[::-1], references[::-1])
    assert metrics == pytest.approx(turned)
    assert all(0 <= value <= 100 for value in metrics.values())
    same, _ = translation_metrics(references, references)
    assert same == pytest.approx({"eval/bleu_corpus": 100.0, "eval/chrf": 100.0})


def test_lines_need_a_reference_each():
    with pytest.raises(ValueError, match="reference of the same number, got 1 and 2"):
        translation_metrics(["a"], ["a", "b"])
