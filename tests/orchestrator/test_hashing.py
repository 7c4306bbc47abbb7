"""Fingerprints of tensors: equal where all bits are, and only there."""

from __future__ import annotations

import torch

from orchestrator.hashing import of_networks, of_rows
from orchestrator.recipe import load
from orchestrator.state import TrainState
from toys.cases import FIXED
from toys.small_runs import UNITS


def test_one_bit_changes_the_hash_of_its_block():
    torch.manual_seed(0)
    tokens, scores = torch.randint(9, (40, 5)), torch.randn(40, 5)
    before = of_rows(tokens, scores)
    assert before.rows == 40
    assert len(before.hashes) == len(set(before.hashes)) == 14
    assert of_rows(tokens.clone(), scores.t().contiguous().t()) == before  # memory layout is no content
    scores[8, 4] = torch.nextafter(scores[8, 4], torch.tensor(9.0))
    differ = [a != b for a, b in zip(before.hashes, of_rows(tokens, scores).hashes, strict=True)]
    assert differ.index(True) == 2  # of rows 6, 7, 8
    assert sum(differ) == 1


def test_a_type_is_content():
    assert of_rows(torch.zeros(2, 4)) != of_rows(torch.zeros(2, 4, dtype=torch.int32))


def test_networks_by_name():
    state = TrainState.fresh(load("seqgan", UNITS), FIXED, 8)
    before = of_networks(state)
    assert list(before) == ["generator", "discriminator", "algorithm"]
    with torch.no_grad():
        next(state.discriminator.parameters()).view(-1)[3] += 1
    after = of_networks(state)
    assert [name for name in before if before[name] != after[name]] == ["discriminator"]
