"""The serial baseline does the same work: equal credits of equal completions, equal tokens of equal draws."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.registry import build
from algorithms.seqgan import SeqGAN
from algorithms.types import Alphabet, RolloutSpec, Sequences
from orchestrator.bench import serial
from workers.philox import uniform
from workers.pool import InProcessPool, Request
from workers.rollout import complete, sample

PATH = ("bench", 1)
NEAR = 1e-5


def networks(
    V: int, T: int, dtype: torch.dtype, banned: tuple[int, ...] = ()
) -> tuple[LSTMGenerator, TextCNN]:
    torch.manual_seed(1)
    alphabet = Alphabet(size=V, banned=banned)
    G = LSTMGenerator.Config(embedding=12, hidden=16, init_std=0.7).build(alphabet, T)
    D = TextCNN.Config(embedding=8, filters=((1, 6), (2, 9), (5, 7), (8, 5))).build(alphabet, T)
    return G.to(dtype).eval(), D.to(dtype).eval()


def completed(G: LSTMGenerator, tokens: Tensor, N: int) -> Tensor:
    """Our completions in the order of the baseline: [T - 1, N, B, T]."""
    B, T = tokens.shape
    sequences = Sequences(tokens, torch.full((B,), T))
    rows, b, t, n = complete(G.sampler(), sequences, torch.arange(B), N, PATH)
    done = tokens.repeat(T - 1, N, 1, 1)
    done[t - 1, n, b] = rows
    return done


@pytest.mark.parametrize("banned", [(), (0, 3)])
def test_credits_of_the_same_completions_agree(banned):
    G, D = networks(50, 10, torch.float32, banned)
    B, N = 12, 5
    with InProcessPool(G, D, threads=1, unit=5, sample_unit=8, memory=2**24) as pool:
        pool.publish(G, D, None)
        fake = pool.collect(RolloutSpec(completions=N), Request(B), PATH)
    tokens = fake.sequences.tokens
    fast = build(SeqGAN.Config(completions=N)).credit(fake)
    plain = serial.score(D, tokens, completed(G, tokens, N))
    assert plain.shape == fast.shape == (B, 10)
    assert (plain - fast).abs().max() < 1e-5
    assert fast.std() > 1e-3  # of numbers that are not all the same


def test_the_loop_and_its_parts_are_one():
    G, D = networks(50, 6, torch.float64)
    tokens = torch.randint(50, (4, 6))
    draw = serial.by_numbers(PATH, torch.arange(4))
    done = serial.complete(G, tokens, 3, draw)
    assert torch.equal(serial.credits_of(G, D, tokens, 3, draw), serial.score(D, tokens, done))
    for t in range(1, 6):
        assert torch.equal(done[t - 1, :, :, :t], tokens[None, :, :t].expand(3, 4, t))


class Compared:
    """Draws what the others drew, so that each token is compared by itself; counts where it would not."""

    def __init__(self, theirs: Tensor, sequences: int) -> None:
        self._theirs, self._numbers = theirs, torch.arange(sequences)
        self._draw = serial.by_numbers(PATH, self._numbers)
        self.tokens = self.near = self.far = 0

    def __call__(self, p: Tensor, prefix: int, completion: int, position: int) -> Tensor:
        theirs = self._theirs[prefix - 1, completion, :, position - 1]
        other = self._draw(p, prefix, completion, position) != theirs
        self.tokens += len(theirs)
        if other.any():
            u = uniform(PATH, self._numbers, prefix, completion, position)
            ends = p.double().cumsum(1)
            distance = (ends / ends[:, -1:] - u[:, None]).abs().amin(1)
            self.near += int((other & (distance < NEAR)).sum())
            self.far += int((other & (distance >= NEAR)).sum())
        return theirs


def reference_work(dtype: torch.dtype) -> tuple[LSTMGenerator, TextCNN]:
    torch.manual_seed(4)
    alphabet = Alphabet(size=5000)
    G = LSTMGenerator.Config(init_std=0.5).build(alphabet, 20)
    return G.to(dtype).eval(), TextCNN.Config().build(alphabet, 20).eval()


@pytest.mark.slow
def test_credits_of_the_reference_work_agree():
    G, D = reference_work(torch.float32)
    B, N = 64, 16
    with InProcessPool(G, D, threads=1, unit=32, sample_unit=64, memory=2**28) as pool:
        pool.publish(G, D, None)
        fake = pool.collect(RolloutSpec(completions=N), Request(B), PATH)
    tokens = fake.sequences.tokens
    plain = serial.score(D, tokens, completed(G, tokens, N))
    fast = build(SeqGAN.Config(completions=N)).credit(fake)
    assert (plain - fast).abs().max() < 1e-5
    assert fast.std() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.float64, 0.0)])
def test_tokens_of_the_reference_work_agree(dtype, most):
    G, _ = reference_work(dtype)
    B, T, N = 64, 20, 16
    tokens = torch.randint(5000, (B, T), generator=torch.Generator().manual_seed(2))
    compared = Compared(completed(G, tokens, N), B)
    serial.complete(G, tokens, N, compared)
    assert compared.tokens == B * N * T * (T - 1) // 2
    assert compared.far == 0
    assert compared.near <= most * compared.tokens


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.float64, 0.0)])
def test_tokens_of_the_same_numbers_agree(dtype, most):
    B, T, N, V = 48, 12, 8, 800
    G, _ = networks(V, T, dtype)
    tokens = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(2))
    compared = Compared(completed(G, tokens, N), B)
    serial.complete(G, tokens, N, compared)
    assert compared.tokens == B * N * T * (T - 1) // 2 > 20_000
    assert compared.far == 0
    assert compared.near <= most * compared.tokens


def test_sampled_sequences_agree_too():
    G, _ = networks(200, 9, torch.float32)
    theirs = sample(G, torch.arange(40), PATH)[0].tokens
    ours = serial.sample(G, 40, serial.by_numbers(PATH, torch.arange(40)))
    assert (ours == theirs).all(1).float().mean() >= 0.95


def test_multinomial_draws_from_the_distribution(monkeypatch):
    monkeypatch.setattr(serial, "SAMPLED_AT_ONCE", 300)
    G, _ = networks(5, 3, torch.float32, banned=(2,))
    torch.manual_seed(3)
    drawn = serial.sample(G, 1000)
    assert drawn.shape == (1000, 3)
    assert not (drawn == 2).any()
    logits, _ = G.step(G.start(1), torch.tensor([0]))
    share = torch.bincount(drawn[:, 0], minlength=5) / 1000
    assert (share - logits.softmax(1)[0]).abs().max() < 0.07


@pytest.fixture
def exact() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_the_baseline_is_free_to_choose_algorithms(exact):
    with serial.free_order():
        assert not torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled()
