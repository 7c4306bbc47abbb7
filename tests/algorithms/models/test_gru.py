"""The GRU generator against the equations of its units."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from algorithms.models.gru import GRUGenerator
from algorithms.types import Alphabet


def test_one_step_by_the_equations():
    torch.manual_seed(0)
    G = GRUGenerator.Config(embedding=3, hidden=4, init_std=0.8).build(Alphabet(size=5), 6)
    h, tokens = torch.randn(2, 4), torch.tensor([1, 4])
    x = G.embedding[tokens]
    W, U, b, c = G.layer.all_weights[0]
    (wr, wz, wn), (ur, uz, un) = (x @ W.T + b).chunk(3, 1), (h @ U.T + c).chunk(3, 1)
    r, z = torch.sigmoid(wr + ur), torch.sigmoid(wz + uz)
    expected = (1 - z) * torch.tanh(wn + r * un) + z * h
    logits, state = G.step(type(G.start(1))(h), tokens)
    assert_close(state.h, expected)
    assert_close(logits, expected @ G.output + G.output_bias)


def test_sizes_are_those_of_the_paper_by_default():
    G = GRUGenerator.Config().build(Alphabet(size=7), 5)
    assert G.embedding.shape == (7, 200)
    assert G.output.shape == (200, 7)
    assert G.start(3).bytes_per_row == 800
