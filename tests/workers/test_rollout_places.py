"""What exactness rests on: at a constant number of rows, neither place nor neighbours change a row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from algorithms.models.base import Scorer
from algorithms.models.lstm import LSTMGenerator, LSTMState
from algorithms.models.products import product
from algorithms.models.text_cnn import PAPER_FILTERS, TextCNN
from algorithms.sampling import draw, log_prob_of, weigh
from algorithms.types import Alphabet, Rows, Sequences
from workers.pieces import completed, pieces, read_at_once, sampled, scored

CPU = torch.device("cpu")
QUICK_FILTERS = ((1, 50), (2, 50), (3, 50), (4, 50), (6, 50), (10, 25), (20, 25))


def check(function: Callable[[torch.Tensor], torch.Tensor], rows: int, size: int, times: int) -> None:
    """``function`` of row numbers gives each row the same bits in random company, at random places."""
    rng = torch.Generator().manual_seed(size)
    seen: list[torch.Tensor | None] = [None] * rows
    for _ in range(times):
        order = torch.randperm(rows, generator=rng)
        for places in pieces(order, size):
            for row, value in zip(order[places].tolist(), function(order[places]), strict=True):
                known = seen[row]
                assert known is None or torch.equal(value, known), f"row {row} of {rows}, {size} in a call"
                seen[row] = value.clone() if known is None else known


@pytest.mark.parametrize("hidden", [32, 64, 5])
@pytest.mark.parametrize("V", [200, 2000, 5000, 4683, 27, 6])
@torch.no_grad()
def test_a_step_and_its_draw(V, hidden):
    torch.manual_seed(V)
    G = LSTMGenerator.Config(embedding=hidden, hidden=hidden, init_std=0.5).build(
        Alphabet(size=V, start=0, end=1, banned=(0,)), 20
    )
    rows, sampler = 300, G.sampler()
    state = LSTMState(torch.randn(rows, hidden).tanh(), 2 * torch.randn(rows, hidden))
    fed, u = torch.randint(V, (rows,)), torch.rand(rows, dtype=torch.float64)

    def step(some: torch.Tensor) -> torch.Tensor:
        logits, moved = G.step(state.select(some), fed[some])
        token, log_prob = draw(weigh(logits), u[some])
        tempered = logits / 0.7
        colder, colder_log_prob = draw(weigh(tempered), u[some])
        beside = [moved.h, moved.c, torch.stack([token, colder, log_prob, colder_log_prob], 1)]
        weights, moved = sampler.weigh(state.select(some), fed[some])
        beside += [weights, moved.h]
        likely = [log_prob_of(logits, token)[:, None], log_prob_of(tempered, token)[:, None]]
        return torch.cat([logits, *beside, *likely], 1)

    check(step, rows, sampled(V, CPU), times=4)
    check(step, rows, completed(CPU), times=4)


@pytest.mark.parametrize("hidden", [32, 64])
@torch.no_grad()
def test_prefix_states(hidden):
    torch.manual_seed(1)
    G = LSTMGenerator.Config(embedding=hidden, hidden=hidden, init_std=0.5).build(Alphabet(size=2000), 20)
    tokens = torch.randint(2000, (200, 20))

    def states(some: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.cat([one.h, one.c], 1) for one in G.prefix_states(tokens[some])], 1)

    check(states, 200, sampled(2000, CPU), times=6)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(
    ("embedding", "filters"),
    [(32, QUICK_FILTERS), (64, PAPER_FILTERS), (5, ((1, 3), (2, 9), (20, 7))), (3, ((1, 2), (2, 3)))],
    ids=["demo", "paper", "thin", "thinner"],
)
@torch.no_grad()
def test_a_score(embedding, filters, ends):
    torch.manual_seed(2)
    symbols = Alphabet(size=500, start=0, end=1, pad=0) if ends else Alphabet(size=500)
    D = TextCNN.Config(embedding=embedding, filters=filters).build(symbols, 20).eval()
    tokens = torch.randint(2, 500, (300, 20))
    if ends:
        at = torch.randint(20, (300, 1))
        tokens = tokens.scatter(1, at, 1).masked_fill(torch.arange(20) > at, 0)
    for tables in (0, 2**30):
        scorer = D.scorer(tables)

        def judged(some: torch.Tensor, scorer: Scorer = scorer) -> torch.Tensor:
            return scorer.logits(Rows(Sequences(tokens[some], symbols.lengths(tokens[some]))))

        def read(some: torch.Tensor, scorer: Scorer = scorer) -> torch.Tensor:
            known = scorer.read(Sequences(tokens[some], symbols.lengths(tokens[some])))
            assert known is not None
            return known

        check(judged, 300, scored(CPU), times=2 if filters is PAPER_FILTERS else 6)
        check(read, 100, read_at_once(CPU), times=2)


@pytest.mark.parametrize("K", [5, 25, 32, 301])
@pytest.mark.parametrize("N", [1, 2, 3, 5, 7, 9, 11, 12, 15, 16, 17, 31])
@torch.no_grad()
def test_products_of_any_width(N, K):
    torch.manual_seed(N)
    x, weight, bias = torch.randn(300, K), torch.randn(K, N), torch.randn(N)
    turned = weight.t().contiguous().t()  # as a linear layer keeps it
    check(lambda some: product(x[some], weight, bias), 300, 64, times=3)
    check(lambda some: product(x[some], turned, bias), 300, 64, times=3)
    torch.testing.assert_close(product(x, weight), x @ weight, rtol=0, atol=1e-4)
    torch.testing.assert_close(product(x, turned, bias), x @ weight + bias, rtol=0, atol=1e-4)


def test_pieces_have_one_size_and_cover_every_row_once():
    for rows in (0, 1, 63, 64, 65, 200):
        parts = pieces(torch.empty(rows), 64)
        assert [len(part) for part in parts] == [64] * -(-rows // 64)
        places = torch.cat(parts) if parts else torch.empty(0).long()
        assert places[:rows].tolist() == list(range(rows))
        assert (places[rows:] == rows - 1).all()
