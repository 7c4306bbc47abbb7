"""Rewards of replies three ways: the loops say the same, and the encoder runs once per source in ours."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from orchestrator.bench.dialogue import B, DialogueWork, N, T, compare_dialogue


def test_both_loops_draw_and_score_the_same():
    work = DialogueWork(torch.device("cpu"), 8, 50)
    found = []
    for share in (True, False):
        torch.manual_seed(0)
        found.append(work.one_by_one(share=share))
    assert_close(*found)
    assert found[0].shape == (B, T)


def test_ours_agree_with_the_loop_on_average():
    work = DialogueWork(torch.device("cpu"), 8, 50)
    # the last column of each is D's opinion of other replies: only means can agree
    assert work.ours().mean().item() == pytest.approx(work.one_by_one(share=True).mean().item(), abs=0.02)


def test_rows():
    rows = {row.way: row for row in compare_dialogue(torch.device("cpu"), quick=True)}
    assert rows["advseq"].ratio == 1
    assert rows["advseq"].encoder_runs == 1
    assert rows["shared"].encoder_runs == 2  # to draw the replies, and for their prefixes
    assert rows["plain"].encoder_runs == 2 + N * (T - 1)
