"""The budget for completions is kept: what a unit holds at a time stays within it."""

from __future__ import annotations

import pytest
import torch

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.types import Alphabet, RolloutSpec
from orchestrator.bench.timing import peak_bytes
from workers.rollout import Block, Networks, rollout

MIB = 2**20


@pytest.fixture(scope="module")
def networks() -> Networks:
    torch.manual_seed(0)
    symbols = Alphabet(size=300)
    G = LSTMGenerator.Config().build(symbols, 20)
    D = TextCNN.Config(embedding=16, filters=((1, 50), (3, 100), (20, 50))).build(symbols, 20)
    return Networks(G, G, D).eval()


def peak(networks: Networks, memory: int) -> int:
    spec, scorer = RolloutSpec(completions=16), networks.discriminator.scorer(2**24)
    unit = Block(0, 16)
    return peak_bytes(
        lambda: rollout(networks, spec, unit, (1,), scorer=scorer, memory=memory), torch.device("cpu")
    )


def test_the_peak_stays_within_the_budget(networks):
    least = peak(networks, 1)  # one sequence at a time: what a single call of a network needs, and the result
    for budget in (1 * MIB, 2 * MIB, 4 * MIB, 8 * MIB):
        used = peak(networks, budget) - least
        assert used <= budget, f"{budget // MIB} MiB"
    # a larger budget is used: otherwise nothing would have been shown
    assert used > MIB
