"""What every generator promises of its states: they branch, reorder and join, and change nothing."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from algorithms.types import Alphabet
from toys.cases import ALPHABETS, FIXED, STEPPED, T, make, next_log_probs, stepwise
from toys.transformer import CachedState

stepped = pytest.mark.parametrize("name", STEPPED)
both_alphabets = pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)


@stepped
@both_alphabets
def test_a_prefix_state_and_its_last_token_continue_the_prefix(name: str, alphabet: Alphabet) -> None:
    G, tokens, source = make(name, alphabet)
    states, expected = G.prefix_states(tokens, source), stepwise(G, tokens, source)
    assert len(states) == T
    lengths = alphabet.lengths(tokens)
    for t in range(1, T):
        going = lengths > t
        assert len(states[t - 1]) == len(tokens)
        got = next_log_probs(G, states[t - 1], tokens[:, t - 1])
        assert_close(got[going], expected[going, t], atol=1e-5, rtol=0)


@stepped
def test_a_prefix_state_can_be_continued_to_the_end(name: str) -> None:
    G, tokens, source = make(name, FIXED)
    state, expected = G.prefix_states(tokens, source)[0], stepwise(G, tokens, source)
    for t in range(1, T):
        logits, state = G.step(state, tokens[:, t - 1])
        assert_close(logits.log_softmax(-1), expected[:, t], atol=1e-5, rtol=0)


@stepped
def test_select_repeats_and_reorders_rows(name: str) -> None:
    G, tokens, source = make(name, FIXED)
    _, stepped_once = G.step(G.prefix_states(tokens, source)[0], tokens[:, 0])
    rows = torch.tensor([80, 3, 3, 41, 0, 3])
    picked = stepped_once.select(rows)
    assert len(picked) == 6
    expected = next_log_probs(G, stepped_once, tokens[:, 1])[rows]
    assert_close(next_log_probs(G, picked, tokens[rows, 1]), expected, atol=1e-5, rtol=0)
    twice = picked.select(torch.tensor([3, 3, 1]))
    assert_close(next_log_probs(G, twice, tokens[rows, 1][[3, 3, 1]]), expected[[3, 3, 1]], atol=1e-5, rtol=0)
    assert len(picked.select(torch.empty(0, dtype=torch.int64))) == 0


@stepped
def test_join_undoes_select(name: str) -> None:
    G, tokens, source = make(name, FIXED)
    state = G.prefix_states(tokens, source)[1]
    front, middle, back = torch.arange(81).split([10, 1, 70])
    joined = state.select(back).join([state.select(front), state.select(middle)])
    order = torch.cat([back, front, middle])
    assert len(joined) == 81
    got = next_log_probs(G, joined, tokens[order, 1])
    assert_close(got, next_log_probs(G, state, tokens[:, 1])[order], atol=1e-5, rtol=0)
    assert_close(next_log_probs(G, state.join([]), tokens[:, 1]), got[order.argsort()], atol=1e-5, rtol=0)


@stepped
def test_rows_that_branched_at_different_prefixes_advance_together(name: str) -> None:
    """As rollouts do: after position t the completions of the prefix of length t join those under way."""
    G, tokens, source = make(name, FIXED)
    states, expected = G.prefix_states(tokens, source), stepwise(G, tokens, source)
    early, late = torch.tensor([7, 7, 50]), torch.tensor([50, 2])
    _, under_way = G.step(states[0].select(early), tokens[early, 0])
    joined, order = under_way.join([states[1].select(late)]), torch.cat([early, late])
    for t in (2, 3):
        logits, joined = G.step(joined, tokens[order, t - 1])
        assert_close(logits.log_softmax(-1), expected[order, t], atol=1e-5, rtol=0)


@stepped
def test_states_of_different_batches_join(name: str) -> None:
    G, tokens, source = make(name, FIXED)
    halves = torch.arange(81).split([30, 51])
    parts = [
        G.prefix_states(tokens[rows], None if source is None else source.select(rows))[1] for rows in halves
    ]
    joined = parts[1].join([parts[0]])
    expected = stepwise(G, tokens, source)[torch.cat([halves[1], halves[0]]), 2]
    fed = torch.cat([tokens[halves[1], 1], tokens[halves[0], 1]])
    assert_close(next_log_probs(G, joined, fed), expected, atol=1e-5, rtol=0)


@stepped
def test_a_step_leaves_the_state_that_it_was_given(name: str) -> None:
    G, tokens, source = make(name, FIXED)
    _, state = G.step(G.start(81, source), torch.zeros_like(tokens[:, 0]))
    once, after = G.step(state, tokens[:, 0])
    G.step(state, (tokens[:, 0] + 1) % 3)
    then = next_log_probs(G, after, tokens[:, 1])
    again, after = G.step(state, tokens[:, 0])
    assert torch.equal(once, again)
    assert torch.equal(next_log_probs(G, after, tokens[:, 1]), then)


@stepped
def test_bytes_per_row_is_positive_and_the_price_of_one_row(name: str) -> None:
    G, tokens, source = make(name, FIXED)
    state = G.prefix_states(tokens, source)[1]
    assert state.bytes_per_row > 0
    assert state.select(torch.arange(3)).bytes_per_row == state.bytes_per_row
    # a budget is made before anything is sampled: it may ask the start of one row
    first = None if source is None else source.select(slice(0, 1))
    assert G.start(1, first).bytes_per_row == state.bytes_per_row


def test_completions_share_the_prefix_in_the_cache() -> None:
    G, tokens, _ = make("transformer", FIXED)
    states = G.prefix_states(tokens)
    few, more = states[0].select(torch.zeros(1000, dtype=torch.int64)), states[1].select(torch.arange(5))
    _, few = G.step(few, tokens[:1, 0].expand(1000))
    joined = few.join([more])
    assert isinstance(joined, CachedState)
    assert isinstance(states[0], CachedState)
    assert joined.memory is states[0].memory
    assert joined.keys.shape == (2, 1005, 1, 8)  # layers, rows, one column of their own, width
