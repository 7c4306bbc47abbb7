"""Beam search against every sequence that there is."""

from __future__ import annotations

import pytest
import torch

from algorithms.types import Alphabet
from toys import NgramGenerator, all_sequences
from toys.cases import VARIABLE, T, make
from workers.beam import beam_search


def found(sequences, width: int) -> list[list[tuple[int, ...]]]:
    rows = [tuple(row) for row in sequences.tokens.tolist()]
    return [rows[first : first + width] for first in range(0, len(rows), width)]


@pytest.mark.parametrize("name", ["ngram", "attention", "attention_dialogue"])
def test_a_beam_that_holds_everything_finds_everything_in_order(name: str):
    G, every, sources = make(name, VARIABLE)
    source = None if sources is None else sources.select(torch.arange(3))
    best, likely = beam_search(G, 3, source, width=len(every))
    for row, mine in enumerate(found(best, len(every))):
        condition = None if sources is None else sources.select(torch.full((len(every),), row))
        exact = G.log_prob(every, condition).sum(1)
        order = exact.argsort(descending=True)
        assert mine == [tuple(one) for one in every[order].tolist()]
        torch.testing.assert_close(likely[row], exact[order], atol=1e-5, rtol=0)


def test_a_width_of_one_is_greedy():
    G = NgramGenerator(VARIABLE, T, seed=5)
    best, likely = beam_search(G, 2)
    state, fed, drawn = G.start(1), torch.tensor([VARIABLE.start]), []
    for _ in range(T):
        logits, state = G.step(state, fed)
        fed = logits.argmax(1)
        drawn.append(int(fed))
        if drawn[-1] == VARIABLE.end:
            break
    assert best.tokens[0, : len(drawn)].tolist() == drawn
    assert best.tokens[0, len(drawn) :].eq(VARIABLE.pad).all()
    assert torch.equal(best.tokens[0], best.tokens[1])
    torch.testing.assert_close(likely[0, 0], G.log_prob(best.tokens)[0].sum(), atol=1e-5, rtol=0)


def test_the_penalty_among_siblings_brings_other_parents_forward():
    G = NgramGenerator(Alphabet(size=6), 2, n=1)
    G.load_state_dict({"logits": torch.tensor([[5.0, 1.0, 0.8, 0.6, 0.0, 0.0]])})
    first = [len({row[0] for row in found(beam_search(G, 1, width=4, sibling_penalty=gamma)[0], 4)[0]})
             for gamma in (0.0, 10.0)]  # fmt: skip
    assert first[0] < 4
    assert first[1] == 4  # each of the four has a parent of its own


def test_a_repeated_symbol_is_penalised_unless_it_is_exempt():
    alphabet = Alphabet(size=3)
    G = NgramGenerator(alphabet, 3, n=1)
    G.load_state_dict({"logits": torch.tensor([[2.0, 1.0, 0.0]])})
    assert beam_search(G, 1)[0].tokens.tolist() == [[0, 0, 0]]
    assert beam_search(G, 1, repeat_penalty=9.0)[0].tokens.tolist() == [[0, 1, 2]]
    exempt = torch.tensor([True, False, False])
    assert beam_search(G, 1, repeat_penalty=9.0, exempt=exempt)[0].tokens.tolist() == [[0, 0, 0]]


def test_a_power_of_the_length_ranks_longer_ones_first():
    G, every = NgramGenerator(VARIABLE, T, seed=2), all_sequences(VARIABLE, T)
    means = [beam_search(G, 1, width=len(every), length_power=power)[0] for power in (0.0, 1.0)]
    exact = G.log_prob(every).sum(1) / VARIABLE.lengths(every)
    assert means[1].tokens[0].tolist() == every[exact.argmax()].tolist()
    assert means[1].lengths[:5].float().mean() > means[0].lengths[:5].float().mean()
