"""MAUVE is an extra: without it everything else works, and whoever asks for it is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from orchestrator.errors import UserError
from orchestrator.metrics.mauve import mauve, mauve_lacks
from orchestrator.recipe import load
from orchestrator.samples_file import evaluate_file


def test_what_is_lacking_is_said_before_anything_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "faiss" else find(name))
    told = r"pip install 'advseq\[mauve\]'"
    with pytest.raises(UserError, match=told):
        load("seqgan", ["evaluation.mauve=true"])
    samples = tmp_path / "samples.txt"
    samples.write_text("a b c\nd e f\n")
    with pytest.raises(UserError, match=told):
        evaluate_file(samples, with_mauve=True)
    load("seqgan", [])
    assert evaluate_file(samples)["metrics"]


@pytest.mark.skipif(mauve_lacks() is not None, reason="the extra is not installed")
def test_the_same_the_near_and_the_far():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(300, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    same, near, far = mauve(a, a), mauve(a, b), mauve(a + 10, b)
    assert 0 < far < 0.1 < near <= same <= 1
