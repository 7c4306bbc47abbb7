"""The LSTM against numbers worked out by hand and against torch's own."""

from __future__ import annotations

from math import exp, log, sqrt, tanh

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from algorithms.models.lstm import LSTMGenerator
from algorithms.types import Alphabet
from toys import all_sequences


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


@pytest.fixture
def tiny() -> LSTMGenerator:
    """V = 2, E = H = 1, T = 2."""
    G = LSTMGenerator.Config(embedding=1, hidden=1).build(Alphabet(size=2), 2)
    values = {
        "embedding": [[1.0], [-2.0]],
        "input": [[0.5, 0.25, 1.0, -0.5]],  # i, f, g, o
        "recurrent": [[0.1, 0.2, 0.3, 0.4]],
        "bias": [0.0, 1.0, 0.5, 2.0],
        "output": [[2.0, -1.0]],
        "output_bias": [0.0, 0.5],
    }
    G.load_state_dict({name: torch.tensor(value) for name, value in values.items()}, strict=False)
    return G


def test_two_steps_by_hand(tiny: LSTMGenerator) -> None:
    # fed the start symbol 0: x = 1, h = c = 0
    c1 = sigmoid(0.5) * tanh(1.5)
    h1 = sigmoid(1.5) * tanh(c1)
    # fed symbol 1: x = -2
    i, f = sigmoid(-1.0 + 0.1 * h1), sigmoid(-0.5 + 1.0 + 0.2 * h1)
    g, o = tanh(-2.0 + 0.5 + 0.3 * h1), sigmoid(1.0 + 2.0 + 0.4 * h1)
    c2 = f * c1 + i * g
    h2 = o * tanh(c2)

    logits, first = tiny.step(tiny.start(1), torch.tensor([0]))
    assert_close(first.h, torch.tensor([[h1]]))
    assert_close(first.c, torch.tensor([[c1]]))
    assert_close(logits, torch.tensor([[2 * h1, 0.5 - h1]]))
    _, second = tiny.step(first, torch.tensor([1]))
    assert_close(second.h, torch.tensor([[h2]]))
    assert_close(second.c, torch.tensor([[c2]]))

    # p(1) after h is sigmoid(logit 1 - logit 0) = sigmoid(0.5 - 3 h)
    expected = [log(sigmoid(0.5 - 3 * h1)), log(1 - sigmoid(0.5 - 3 * h2))]
    assert_close(tiny.log_prob(torch.tensor([[1, 0]])), torch.tensor([expected]))


def test_the_prefix_of_length_1_has_not_been_fed_its_token(tiny: LSTMGenerator) -> None:
    states = tiny.prefix_states(torch.tensor([[1, 0]]))
    _, first = tiny.step(tiny.start(1), torch.tensor([0]))
    _, second = tiny.step(first, torch.tensor([1]))
    assert len(states) == 2
    assert_close((states[0].h, states[0].c), (first.h, first.c))
    assert_close((states[1].h, states[1].c), (second.h, second.c))
    assert first.bytes_per_row == 2 * 1 * 4


def test_agrees_with_torch_lstm() -> None:
    torch.manual_seed(3)
    V, E, H, T = 11, 5, 7, 9
    G = LSTMGenerator.Config(embedding=E, hidden=H, init_std=0.5).build(Alphabet(size=V, start=4), T)
    reference = torch.nn.LSTM(E, H, batch_first=True)
    weights = {
        "weight_ih_l0": G.input.T,
        "weight_hh_l0": G.recurrent.T,
        "bias_ih_l0": G.bias,
        "bias_hh_l0": torch.zeros(4 * H),
    }
    reference.load_state_dict(weights)
    tokens = torch.randint(V, (6, T))
    fed = torch.cat([torch.full((6, 1), 4), tokens[:, :-1]], 1)
    hs, (_, c) = reference(G.embedding[fed])
    states = G.prefix_states(tokens)
    assert_close(torch.stack([state.h for state in states], 1), hs, atol=1e-6, rtol=0)
    assert_close(states[-1].c, c[0], atol=1e-6, rtol=0)
    log_p = (hs @ G.output + G.output_bias).log_softmax(-1)
    expected = log_p.gather(-1, tokens[..., None]).squeeze(-1)
    assert_close(G.log_prob(tokens), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("std", [0.1, 1.0])
def test_every_parameter_starts_normal(std: float) -> None:
    torch.manual_seed(0)
    G = LSTMGenerator.Config(init_std=std).build(Alphabet(size=5_000), 20)
    parameters = dict(G.named_parameters())
    assert {name: tuple(p.shape) for name, p in parameters.items()} == {
        "embedding": (5_000, 32),
        "input": (32, 128),
        "recurrent": (32, 128),
        "bias": (128,),
        "output": (32, 5_000),
        "output_bias": (5_000,),
    }
    for name, parameter in parameters.items():
        n = parameter.numel()
        assert abs(parameter.mean().item()) < 4 * std / sqrt(n), name
        assert abs(parameter.std().item() - std) < 4 * std / sqrt(2 * n), name


def test_banned_symbols_have_probability_zero() -> None:
    G = LSTMGenerator.Config(init_std=1.0).build(Alphabet(size=6, end=5, pad=2, banned=(0, 2)), 3)
    tokens = torch.tensor([[1, 3, 4], [4, 5, 2], [5, 2, 2]])
    logits, _ = G.step(G.prefix_states(tokens)[0], tokens[:, 0])
    assert (logits.softmax(1)[:, [0, 2]] == 0).all()
    assert_close(logits.softmax(1)[:, [1, 3, 4, 5]].sum(1), torch.ones(3))
    assert G.log_prob(torch.tensor([[1, 0, 4]]))[0, 1] == -torch.inf


def test_padding_gives_no_gradient_even_where_it_is_banned() -> None:
    alphabet = Alphabet(size=6, end=5, pad=2, banned=(0, 2))
    G = LSTMGenerator.Config(init_std=1.0).build(alphabet, 4)
    gradients = []
    for tokens in (torch.tensor([[4, 5, 2, 2]]), torch.tensor([[4, 5]])):
        G.zero_grad()
        G.log_prob(tokens).sum().backward()
        gradients.append([p.grad.clone() for p in G.parameters() if p.grad is not None])
    assert len(gradients[0]) == 6
    assert_close(gradients[0], gradients[1])
    embedding = gradients[0][0]
    assert (embedding[[1, 2, 3, 5]] == 0).all()  # fed were the start symbol and 4
    assert (embedding[[0, 4]] != 0).any(1).all()


def test_the_likelihood_has_the_gradient_of_finite_differences() -> None:
    torch.manual_seed(1)
    G = LSTMGenerator.Config(embedding=2, hidden=2, init_std=0.8).build(Alphabet(size=3), 3).double()
    tokens = all_sequences(G.alphabet, 3)[::5]
    names = [name for name, _ in G.named_parameters()]

    def likelihood(*values: torch.Tensor) -> torch.Tensor:
        weights = dict(zip(names, values, strict=True))
        return torch.func.functional_call(G, weights, (tokens,))

    # functional_call runs forward: the generator has none of its own
    G.forward = G.log_prob
    assert torch.autograd.gradcheck(likelihood, tuple(p.detach().requires_grad_() for p in G.parameters()))


@pytest.mark.parametrize(
    ("key", "value"), [("hidden", 0), ("embedding", -1), ("init_std", 0.0), ("widht", 3)]
)
def test_bad_configuration_is_refused(key: str, value: float) -> None:
    with pytest.raises(ValidationError, match=key):
        LSTMGenerator.Config.model_validate({key: value})


def test_gradients_are_the_same_bits_every_time_with_two_threads() -> None:
    """At a size where torch works in parallel: indexing's backward pass would add in any order."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model = LSTMGenerator.Config().build(Alphabet(size=300), 20)
        tokens = torch.randint(300, (64, 20), generator=torch.Generator().manual_seed(0))
        gradients = [
            torch.autograd.grad(model.log_prob(tokens).sum(), list(model.parameters())) for _ in range(12)
        ]
    finally:
        torch.set_num_threads(before)
    for again in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients[0], again, strict=True))
