"""The text CNN against numbers worked out by hand, and the sizes of the paper."""

from __future__ import annotations

from math import exp, sqrt

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from algorithms.models.text_cnn import PAPER_FILTERS, TextCNN
from algorithms.types import Alphabet


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def by_hand(alphabet: Alphabet) -> TextCNN:
    """E = 1, one width of 2 with two filters, T = 3; the embeddings of symbols 0, 1, 2 are -1, 0.5, 2."""
    D = TextCNN.Config(embedding=1, filters=((2, 2),)).build(alphabet, 3)
    values = {
        "embedding.weight": [[-1.0], [0.5], [2.0]],
        "convolutions.0.weight": [[[1.0, -1.0]], [[-1.0, -1.0]]],
        "convolutions.0.bias": [0.5, 0.0],
        "gate.weight": [[0.1, 0.0], [0.0, -1.0]],
        "gate.bias": [0.0, 0.25],
        "transform.weight": [[0.5, 0.0], [1.0, -1.0]],
        "transform.bias": [0.0, -1.0],
        "output.weight": [[1.0, -2.0]],
        "output.bias": [0.25],
    }
    D.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    return D.eval()


def highway_and_output(c0: float, c1: float) -> float:
    tau0, tau1 = sigmoid(0.1 * c0), sigmoid(-c1 + 0.25)
    h0 = tau0 * max(0.0, 0.5 * c0) + (1 - tau0) * c0
    h1 = tau1 * max(0.0, c0 - c1 - 1.0) + (1 - tau1) * c1
    return h0 - 2.0 * h1 + 0.25


def test_a_small_case_by_hand() -> None:
    D = by_hand(Alphabet(size=3))
    # x = 2, -1, 0.5: filter 0 gives 2 + 1 + 0.5 and -1 - 0.5 + 0.5, filter 1 gives -1 and 0.5
    # x = 2, 2, 2: filter 0 gives 0.5 twice, filter 1 gives -4 twice, which relu makes 0
    logits = D.logits(torch.tensor([[2, 0, 1], [2, 2, 2]]))
    assert_close(logits, torch.tensor([highway_and_output(3.5, 0.5), highway_and_output(0.5, 0.0)]))


def test_padding_is_zero_and_its_windows_do_not_compete() -> None:
    D = by_hand(Alphabet(size=3, end=1, pad=0))
    # x = 2, 0.5 (the end), 0: filter 0 gives 2, and 1 from the window that begins with the end;
    # filter 1 gives -2.5 and -0.5
    # x = 0.5 (the end), 0, 0: the second window lies wholly in padding; it would give 0.5 and 0.0
    logits = D.logits(torch.tensor([[2, 1, 0], [1, 0, 0]]))
    assert_close(logits, torch.tensor([highway_and_output(2.0, 0.0), highway_and_output(1.0, 0.0)]))
    # now a window of padding would win
    D.load_state_dict(D.state_dict() | {"convolutions.0.bias": torch.tensor([0.5, 0.1])})
    (logit,) = D.logits(torch.tensor([[1, 2, 2]]))
    # filter 1 on the first window: -0.5 + 0.1 < 0; on a window of padding it would be 0.1
    assert_close(logit, torch.tensor(highway_and_output(1.0, 0.0)))


@pytest.mark.parametrize("alphabet", [Alphabet(size=9), Alphabet(size=9, end=1)], ids=["fixed", "variable"])
def test_agrees_with_conv1d(alphabet: Alphabet) -> None:
    torch.manual_seed(2)
    D = TextCNN.Config(embedding=5, filters=((1, 3), (2, 4), (7, 2), (8, 3))).build(alphabet, 8).eval()
    tokens = torch.randint(9, (40, 8))
    mask = alphabet.mask(tokens)
    assert mask.all() == (alphabet.end is None)
    x = (D.embedding(tokens) * mask[..., None]).transpose(1, 2)  # [B, E, T]
    pooled = []
    for convolution in D.convolutions:
        windows = convolution(x).relu()  # [B, F, T - w + 1]
        # relu leaves nothing below 0: a window that begins in padding may count as 0
        pooled.append((windows * mask[:, None, : windows.shape[2]]).amax(2))
    c = torch.cat(pooled, 1)
    tau = D.gate(c).sigmoid()
    expected = D.output(tau * D.transform(c).relu() + (1 - tau) * c).squeeze(1)
    assert_close(D.logits(tokens), expected, atol=1e-5, rtol=1e-5)


def test_dropout_scales_what_is_kept() -> None:
    D = TextCNN.Config(embedding=1, filters=((2, 2),), dropout=0.5).build(Alphabet(size=3), 3).train()
    D.load_state_dict(by_hand(Alphabet(size=3)).state_dict())
    h0 = highway_and_output(0.5, 0.0) - 0.25  # at c = (0.5, 0) h1 is 0
    seen = {round(D.logits(torch.tensor([[2, 2, 2]])).item(), 4) for _ in range(50)}
    assert seen == {0.25, round(0.25 + 2 * h0, 4)}


def test_the_sizes_of_the_paper() -> None:
    D = TextCNN.Config().build(Alphabet(size=5_000), 20)
    assert PAPER_FILTERS[-2:] == ((15, 160), (20, 160))
    assert D.output.in_features == 1_720
    convolutions = 64 * sum(width * count for width, count in PAPER_FILTERS) + 1_720
    assert convolutions == 801_720
    highway = 2 * (1_720**2 + 1_720)
    assert sum(p.numel() for p in D.parameters()) == 5_000 * 64 + convolutions + highway + 1_721 == 7_043_681
    assert D.dropout.p == 0.25
    assert D.l2 == 0.2


def test_initialisation() -> None:
    torch.manual_seed(0)
    D = TextCNN.Config().build(Alphabet(size=500), 20)
    uniform = D.embedding.weight
    assert -1 <= uniform.min() < -0.99 < 0.99 < uniform.max() <= 1
    assert abs(uniform.std().item() - 1 / sqrt(3)) < 0.01
    # a normal of std 0.1 cut at two of it has a std of 0.088
    weights = [layer.weight for layer in (*D.convolutions, D.gate, D.transform, D.output)]
    assert len(weights) == 12 + 3
    for weight in weights:
        assert isinstance(weight, nn.Parameter)
        assert weight.abs().max() <= 0.2
        assert weight.std().item() == pytest.approx(0.08796, abs=4 * 0.088 / sqrt(weight.numel()))
    for convolution in D.convolutions:
        assert isinstance(convolution.bias, nn.Parameter)
        assert (convolution.bias == torch.tensor(0.1)).all()
    assert (D.gate.bias == 0).all()
    assert (D.transform.bias == 0).all()
    assert_close(D.output.bias.detach(), torch.tensor([0.1]))


def test_the_penalty_is_half_the_squared_norm_of_the_output_layer() -> None:
    # 0.2 / 2 * (1 + 4 + 0.0625)
    penalty = by_hand(Alphabet(size=3)).regularization()
    assert_close(penalty, torch.tensor(0.50625))
    D = by_hand(Alphabet(size=3))
    D.regularization().backward()
    assert_close(D.output.weight.grad, torch.tensor([[0.2, -0.4]]))
    assert D.gate.weight.grad is None


def test_widths_beyond_the_length_are_left_out() -> None:
    alphabet = Alphabet(size=4)
    D = TextCNN.Config(embedding=2).build(alphabet, 10)
    assert [convolution.kernel_size for convolution in D.convolutions] == [(w,) for w in range(1, 11)]
    assert D.output.in_features == 1_400
    assert D.logits(torch.zeros(3, 10, dtype=torch.int64)).shape == (3,)


@pytest.mark.parametrize("filters", [((5, 8), (9, 8)), ((0, 8),), ((2, 0),), ((2, 8), (-1, 8))])
def test_no_window_left_says_what_to_give(filters: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match=r"discriminator\.filters = .* length 4: give .* 1 <= width <= 4"):
        TextCNN.Config(filters=filters).build(Alphabet(size=3), 4)
