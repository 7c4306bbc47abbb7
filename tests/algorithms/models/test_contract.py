"""What every generator promises of its likelihood, tried on the shipped one and on one toy of each kind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.testing import assert_close

from algorithms.models.base import OneShotGenerator
from algorithms.types import Alphabet, Source, join_sources
from toys import all_sequences
from toys.cases import (
    ALPHABETS,
    CONDITIONAL,
    EVERY,
    FIXED,
    STEPPED,
    VARIABLE,
    T,
    lstm,
    make,
    next_log_probs,
    stepwise,
)

stepped = pytest.mark.parametrize("name", STEPPED)
every = pytest.mark.parametrize("name", EVERY)
both_alphabets = pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)


def test_there_are_31_and_81_sequences() -> None:
    assert all_sequences(VARIABLE, T).shape == (1 + 2 + 4 + 8 + 16, T)
    assert all_sequences(FIXED, T).shape == (3**4, T)
    assert len(all_sequences(VARIABLE, T).unique(dim=0)) == 31


@every
@both_alphabets
def test_log_prob_has_a_column_a_token_and_is_zero_on_padding(name: str, alphabet: Alphabet) -> None:
    G, tokens, source = make(name, alphabet)
    log_prob = G.log_prob(tokens, source)
    assert log_prob.shape == tokens.shape
    assert log_prob.isfinite().all()
    mask = alphabet.mask(tokens)
    assert (log_prob[~mask] == 0).all()
    assert (log_prob[mask] < 0).all()


@every
def test_log_prob_does_not_see_what_stands_after_the_end(name: str) -> None:
    G, tokens, source = make(name, VARIABLE)
    other = tokens.masked_fill(~VARIABLE.mask(tokens), 3)
    assert (other != tokens).any()
    assert_close(G.log_prob(other, source), G.log_prob(tokens, source))


@every
@both_alphabets
def test_the_probabilities_of_all_sequences_sum_to_one(name: str, alphabet: Alphabet) -> None:
    G, tokens, _ = make(name, alphabet)
    source = EVERY[name].source(3)
    for row in [None] if source is None else range(3):
        condition = None if source is None or row is None else source.select(torch.full((len(tokens),), row))
        total = G.log_prob(tokens, condition).sum(1).exp().sum()
        assert_close(total, torch.tensor(1.0), atol=1e-5, rtol=0)


@every
@both_alphabets
def test_a_row_does_not_depend_on_the_other_rows(name: str, alphabet: Alphabet) -> None:
    G, tokens, source = make(name, alphabet)
    rows = torch.tensor([5, 2, 5])
    part = G.log_prob(tokens[rows], None if source is None else source.select(rows))
    assert_close(part, G.log_prob(tokens, source)[rows], atol=1e-5, rtol=0)


@every
@both_alphabets
def test_gradient_reaches_every_parameter_and_is_finite(name: str, alphabet: Alphabet) -> None:
    G, tokens, source = make(name, alphabet)
    G.log_prob(tokens, source).sum().backward()
    for label, parameter in G.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.isfinite().all(), label
        assert parameter.grad.abs().max() > 0, label


@every
def test_a_state_dict_carries_the_whole_distribution(name: str) -> None:
    G, tokens, source = make(name, VARIABLE)
    torch.manual_seed(8)
    other = EVERY[name].build(VARIABLE)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0 + torch.rand_like(parameter))
    assert not torch.allclose(other.log_prob(tokens, source), G.log_prob(tokens, source))
    other.load_state_dict(copy.deepcopy(G.state_dict()))
    assert torch.equal(other.log_prob(tokens, source), G.log_prob(tokens, source))


@stepped
@both_alphabets
def test_log_prob_is_what_stepping_gives(name: str, alphabet: Alphabet) -> None:
    G, tokens, source = make(name, alphabet)
    picked = stepwise(G, tokens, source).gather(-1, tokens[..., None]).squeeze(-1)
    expected = picked.masked_fill(~alphabet.mask(tokens), 0.0)
    assert_close(G.log_prob(tokens, source), expected, atol=1e-5, rtol=0)


@stepped
@both_alphabets
def test_a_banned_symbol_never_follows(name: str, alphabet: Alphabet) -> None:
    G, tokens, source = make(name, alphabet)
    p = stepwise(G, tokens, source).exp()  # [B, T, V]
    allowed = [symbol for symbol in range(alphabet.size) if symbol not in alphabet.banned]
    assert (p[..., list(alphabet.banned)] == 0).all()
    assert (p[..., allowed] > 0).all()


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_conditional_model_depends_on_its_source(name: str) -> None:
    G, tokens, source = make(name, FIXED)
    assert source is not None
    other = source.select(torch.arange(81).roll(1))
    different = (G.log_prob(tokens, source) - G.log_prob(tokens, other)).abs().amax(1)
    assert (different > 1e-3).all()
    with pytest.raises(ValueError, match="source"):
        G.log_prob(tokens)


@pytest.mark.parametrize("name", ["seq2seq", "attention", "attention_dialogue", "transformer_seq2seq"])
def test_padding_of_the_source_is_ignored(name: str) -> None:
    G, tokens, source = make(name, FIXED)
    assert source is not None
    assert source.tokens is not None
    assert source.mask is not None
    expected = G.log_prob(tokens, source)
    pad = torch.nn.functional.pad
    other = Source(source.tokens.where(source.mask, (source.tokens + 1) % 5), source.mask)
    longer = Source(pad(source.tokens, (0, 4), value=3), pad(source.mask, (0, 4)))
    for same in (other, longer):
        assert_close(G.log_prob(tokens, same), expected, atol=1e-5, rtol=0)
        second = next_log_probs(G, G.prefix_states(tokens, same)[0], tokens[:, 0])
        assert_close(second, stepwise(G, tokens, source)[:, 1], atol=1e-5, rtol=0)
    all_real = Source(source.tokens, torch.ones_like(source.mask))
    assert_close(G.log_prob(tokens, Source(source.tokens)), G.log_prob(tokens, all_real))


def test_the_conditions_of_two_batches_join_with_them() -> None:
    G, tokens, source = make("seq2seq", FIXED)
    assert source is not None
    parts = [source.select(slice(0, 20)), source.select(slice(20, 81))]
    assert_close(G.log_prob(tokens, join_sources(parts)), G.log_prob(tokens, source))


@both_alphabets
def test_one_shot_probabilities_are_given_z_and_sum_to_one(alphabet: Alphabet) -> None:
    G, tokens, source = make("one_shot", alphabet)
    assert isinstance(G, OneShotGenerator)
    assert source is not None
    p = G.relaxed(source)
    assert p.shape == (len(tokens), T, alphabet.size)
    assert_close(p.sum(-1), torch.ones(len(tokens), T))
    assert (p[..., list(alphabet.banned)] == 0).all()
    row = 3
    by_hand = [p[row, t, tokens[row, t]].log() for t in range(int(alphabet.lengths(tokens)[row]))]
    assert_close(G.log_prob(tokens, source)[row, : len(by_hand)], torch.stack(by_hand))
    assert source.vector is not None
    assert source.vector.shape[1] == G.latent > 0


def test_one_shot_has_no_prefixes_to_continue() -> None:
    G, tokens, source = make("one_shot", FIXED)
    state = lstm(FIXED).start(81)
    with pytest.raises(ValueError, match="ToyOneShot emits all positions at once and has no prefixes"):
        G.start(81, source)
    with pytest.raises(ValueError, match="no prefixes to continue"):
        G.step(state, tokens[:, 0])
    with pytest.raises(ValueError, match="no prefixes to continue"):
        G.prefix_states(tokens, source)
    with pytest.raises(ValueError, match="pass the latent z"):
        G.log_prob(tokens)
