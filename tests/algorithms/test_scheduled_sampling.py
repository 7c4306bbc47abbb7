"""Scheduled sampling: what is fed, what is aimed at, and that it starts as maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from algorithms.mle import MLE
from algorithms.models.base import Generator
from algorithms.models.lstm import LSTMGenerator
from algorithms.sampling import draw, weigh
from algorithms.scheduled_sampling import ScheduledSampling
from algorithms.types import Alphabet, Sequences, Source


@dataclass(frozen=True)
class NoMemory:
    rows: int
    bytes_per_row: int = 0

    def __len__(self) -> int:
        return self.rows

    def select(self, rows: Tensor) -> Self:
        return type(self)(len(rows))

    def join(self, others: Sequence[Self]) -> Self:
        return type(self)(self.rows + sum(map(len, others)))


class Bigram(Generator):
    """The next symbol depends on the one before alone, by a table of logits [V, V]."""

    def __init__(self, logits: Tensor, alphabet: Alphabet, length: int) -> None:
        super().__init__()
        self.alphabet, self.length, self.table = alphabet, length, nn.Parameter(logits)

    def start(self, rows: int, source: Source | None = None) -> NoMemory:
        return NoMemory(rows)

    def step(self, state: NoMemory, tokens: Tensor) -> tuple[Tensor, NoMemory]:  # type: ignore[override]
        return self.table[tokens], state

    def log_prob(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        fed = torch.cat([torch.full_like(tokens[:, :1], self.alphabet.start), tokens[:, :-1]], 1)
        return self.table[fed].log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def variable_length() -> tuple[LSTMGenerator, Sequences]:
    torch.manual_seed(0)
    alphabet = Alphabet(size=6, start=0, end=5, pad=0, banned=(0,))
    G = LSTMGenerator.Config(embedding=4, hidden=4, init_std=1.0).build(alphabet, 4)
    tokens = torch.tensor([[1, 2, 3, 4], [2, 5, 0, 0], [5, 0, 0, 0], [4, 4, 4, 5]])
    return G, Sequences(tokens, alphabet.lengths(tokens))


def test_the_share_of_real_tokens_falls_by_decay_per_epoch() -> None:
    algorithm = ScheduledSampling(ScheduledSampling.Config())
    assert [algorithm.real_share(epoch) for epoch in (0, 1, 100, 500, 900)] == pytest.approx(
        [1, 0.998, 0.8, 0, 0]
    )


def test_at_share_one_it_is_maximum_likelihood() -> None:
    G, real = variable_length()
    losses = []
    for algorithm in (ScheduledSampling(ScheduledSampling.Config()), MLE(MLE.Config())):
        G.zero_grad()
        loss = algorithm.pretrain_loss(G, real, 0, seeded()).value
        torch.autograd.backward(loss)
        losses.append((loss.item(), [parameter.grad.clone() for parameter in G.parameters()]))  # type: ignore[union-attr]
    (one, gradients), (other, theirs) = losses
    assert one == pytest.approx(other, abs=1e-6)
    for got, want in zip(gradients, theirs, strict=True):
        assert torch.allclose(got, want, atol=1e-6, rtol=1e-5)


def test_at_share_zero_the_model_feeds_itself_and_aims_at_the_real_token() -> None:
    # after 0 surely 1, after 1 surely 2, after 2 the symbols 1 and 2 with probabilities 1/4 and 3/4
    never = -torch.inf
    table = torch.tensor([[never, 0, never], [never, never, 0], [never, 0, math.log(3)]])
    G = Bigram(table, Alphabet(size=3), 3)
    real = Sequences(torch.tensor([[1, 2, 1]]), torch.tensor([3]))
    algorithm = ScheduledSampling(ScheduledSampling.Config(decay=1.0))
    # it feeds 0, 1, 2, as the real sequence would: 1, 1 and 1/4
    assert algorithm.pretrain_loss(G, real, 1, seeded()).value.item() == pytest.approx(math.log(4) / 3)
    # here the first real token is 2, and the model says 1 instead
    table = torch.tensor([[never, 50.0, 0.0], [never, 0, math.log(3)], [never, math.log(9), 0]])
    real = Sequences(torch.tensor([[2, 1]]), torch.tensor([2]))
    loss = algorithm.pretrain_loss(Bigram(table, Alphabet(size=3), 2), real, 1, seeded()).value
    assert loss.item() == pytest.approx(
        (50 + math.log(4)) / 2
    )  # aimed at 1 after 1: 1/4; after 2 it were 9/10


def test_a_coin_is_tossed_for_every_token_of_every_sequence() -> None:
    # its expectation over coins and draws, for T = 2:
    # log p(y1 | s) + eps log p(y2 | y1) + (1 - eps) sum_v p(v | s) log p(y2 | v)
    table = torch.tensor([[0.0, 1.0, -0.5], [2.0, 0.0, -1.0], [-1.5, 0.5, 1.5]])
    log_p = table.log_softmax(1)
    B, eps, (y1, y2) = 20_000, 0.75, (1, 2)
    real = Sequences(torch.tensor([[y1, y2]]).repeat(B, 1), torch.full((B,), 2))
    G = Bigram(table, Alphabet(size=3), 2)
    algorithm = ScheduledSampling(ScheduledSampling.Config(decay=1 - eps))
    got = -2 * algorithm.pretrain_loss(G, real, 1, seeded()).value.item()
    fed_v = log_p[0].exp()
    weights = (1 - eps) * fed_v
    weights[y1] += eps
    mean = (weights * log_p[:, y2]).sum()
    sd = ((weights * log_p[:, y2] ** 2).sum() - mean**2).sqrt()
    # one coin for the whole graph would give log p(y2 | y1) or the mean over draws, both tens of errors away
    assert got == pytest.approx((log_p[0, y1] + mean).item(), abs=4 * sd.item() / math.sqrt(B))


def test_the_same_random_state_gives_the_same_loss_and_another_a_different_one() -> None:
    G, real = variable_length()
    algorithm = ScheduledSampling(ScheduledSampling.Config(decay=0.5))
    one, same, other = (algorithm.pretrain_loss(G, real, 1, seeded(k)).value.item() for k in (0, 0, 1))
    assert one == same != other


def test_no_gradient_through_the_draw_and_none_from_padding() -> None:
    G, real = variable_length()
    algorithm = ScheduledSampling(ScheduledSampling.Config(decay=1.0))
    loss = algorithm.pretrain_loss(G, real, 1, seeded()).value
    torch.autograd.backward(loss)
    assert loss.isfinite()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in G.parameters())
    # whatever stands after the end changes nothing
    tokens = real.tokens.masked_fill(~real.mask, 3)
    changed = algorithm.pretrain_loss(G, Sequences(tokens, real.lengths), 1, seeded()).value
    assert changed.item() == loss.item()


def test_draws_follow_the_distribution_and_never_take_what_is_forbidden() -> None:
    logits = torch.tensor([-torch.inf, 0.0, math.log(3), -torch.inf])
    ends = torch.tensor([0.0, 0.2499, 0.2501, 1 - 2**-24])
    assert draw(weigh(logits.expand(4, 4)), ends)[0].tolist() == [1, 1, 2, 2]
    # the largest number below one, at a large vocabulary whose last symbols are forbidden
    wide = torch.zeros(1, 5_000)
    wide[:, 4_990:] = -torch.inf
    assert draw(weigh(wide), torch.tensor([1 - 2**-24]))[0].item() == 4_989


def test_it_only_pretrains() -> None:
    G, real = variable_length()
    algorithm = ScheduledSampling(ScheduledSampling.Config())
    assert algorithm.stages == ("pretrain_generator",)
    with pytest.raises(ValueError, match="scheduled_sampling has no adversarial stage"):
        algorithm.discriminator_loss(G, None, real, real, seeded())  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        ScheduledSampling.Config(decay=-0.1)
