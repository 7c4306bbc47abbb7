"""The bidirectional discriminator against torch's own, and that it does not read padding."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from algorithms.models.bi_rnn import BiRNN
from algorithms.types import Alphabet

VARIABLE = Alphabet(size=6, start=0, end=1, pad=2, banned=(0, 2))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_is_torchs_bidirectional_layer_on_each_sequence_alone(cell: Literal["lstm", "gru"]):
    torch.manual_seed(1)
    D = BiRNN.Config(cell=cell, embedding=3, hidden=4, layers=2).build(VARIABLE, 5).eval()
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](3, 4, 2, batch_first=True, bidirectional=True)
    weights = {}
    for number, pair in enumerate(zip(D.forward_layers, D.backward_layers, strict=True)):
        for suffix, layer in zip(("", "_reverse"), pair, strict=True):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                weights[f"{name}_l{number}{suffix}"] = getattr(layer, f"{name}_l0")
    theirs.load_state_dict(weights)
    tokens = torch.tensor([[3, 4, 5, 1, 2], [5, 1, 2, 2, 2], [3, 3, 4, 5, 5], [1, 2, 2, 2, 2]])
    for row, length in zip(tokens, (4, 2, 5, 1), strict=True):
        states, _ = theirs(D.embedding(row[None, :length]))
        ends = torch.cat([states[0, -1, :4], states[0, 0, 4:]])
        assert_close(D.logits(row[None]), D.output(ends[None])[:, 0])
    assert_close(D.logits(tokens), torch.cat([D.logits(row[None]) for row in tokens]))
