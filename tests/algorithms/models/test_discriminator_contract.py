"""What every discriminator promises, tried on the shipped one and on one toy of each kind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.testing import assert_close

from algorithms.models.base import Discriminator
from algorithms.models.bi_rnn import BiRNN
from algorithms.models.hierarchical import Hierarchical
from algorithms.models.residual_conv import ResidualConvDiscriminator
from algorithms.models.text_cnn import TextCNN
from algorithms.types import Alphabet, Origin, Rows, Sequences, Source
from toys import TabularDiscriminator, ToyPrefixDiscriminator, all_sequences
from toys.cases import ALPHABETS, FIXED, VARIABLE, T, dialogues, texts


@dataclass(frozen=True)
class Case:
    """How to build a discriminator, and what it can do besides.

    Attributes:
        prefixes: it scores them.
        any_length: it takes sequences of other lengths than T.
        dropout: it drops features in training.
    """

    build: Callable[[Alphabet], Discriminator]
    prefixes: bool = False
    any_length: bool = False
    dropout: bool = False


def text_cnn(alphabet: Alphabet) -> TextCNN:
    return TextCNN.Config(embedding=3, filters=((1, 3), (2, 4), (4, 2)), dropout=0.5).build(alphabet, T)


def bi_rnn(cell: Literal["lstm", "gru"]) -> Case:
    config = BiRNN.Config(cell=cell, embedding=3, hidden=4, dropout=0.5)
    return Case(lambda alphabet: config.build(alphabet, T), any_length=True, dropout=True)


def residual_conv(alphabet: Alphabet) -> ResidualConvDiscriminator:
    return ResidualConvDiscriminator.Config(dim=6, blocks=2, width=3, slope=0.2).build(alphabet, T)


def hierarchical(alphabet: Alphabet) -> Hierarchical:
    config = Hierarchical.Config(embedding=3, hidden=4, dropout=0.5, init_range=1.0)
    return config.build(replace(alphabet, source=5), T)


CASES = {
    "text_cnn": Case(text_cnn, dropout=True),
    "bi_lstm": bi_rnn("lstm"),
    "bi_gru": bi_rnn("gru"),
    "residual_conv": Case(residual_conv),
    "hierarchical": Case(hierarchical, prefixes=True, any_length=True, dropout=True),
    "tabular": Case(lambda alphabet: TabularDiscriminator(alphabet, T)),
    "prefix": Case(ToyPrefixDiscriminator, prefixes=True, any_length=True, dropout=True),
}
every = pytest.mark.parametrize("name", CASES)
both_alphabets = pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)


def those(**wanted: bool) -> pytest.MarkDecorator:
    names = [name for name, case in CASES.items() if all(getattr(case, k) is v for k, v in wanted.items())]
    return pytest.mark.parametrize("name", names)


def make(name: str, alphabet: Alphabet) -> tuple[Discriminator, Tensor]:
    """The discriminator in evaluation mode, and every sequence that the alphabet allows."""
    torch.manual_seed(11)
    return CASES[name].build(alphabet).eval(), all_sequences(alphabet, T)


@every
@both_alphabets
def test_one_finite_logit_a_sequence(name: str, alphabet: Alphabet) -> None:
    D, tokens = make(name, alphabet)
    logits = D.logits(tokens)
    assert logits.shape == (len(tokens),)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert logits.std() > 1e-3  # it tells sequences apart


@every
@pytest.mark.parametrize("filler", [0, 1, 3, 4])
def test_what_stands_after_the_end_does_not_matter(name: str, filler: int) -> None:
    D, tokens = make(name, VARIABLE)
    other = tokens.masked_fill(~VARIABLE.mask(tokens), filler)
    assert (other != tokens).any()
    assert_close(D.logits(other), D.logits(tokens), atol=1e-6, rtol=0)


@those(any_length=True)
def test_more_padding_does_not_matter(name: str) -> None:
    D, tokens = make(name, VARIABLE)
    ended = tokens[tokens.eq(1).any(1)]  # 1 is the end symbol
    assert len(ended) == 15
    assert_close(D.logits(pad(ended, (0, 3), value=VARIABLE.pad)), D.logits(ended), atol=1e-6, rtol=0)


@every
@both_alphabets
def test_a_row_does_not_depend_on_the_other_rows(name: str, alphabet: Alphabet) -> None:
    D, tokens = make(name, alphabet)
    rows = torch.tensor([17, 4, 17, 30])
    expected = D.logits(tokens)[rows]
    assert_close(D.logits(tokens[rows]), expected, atol=1e-5, rtol=0)
    assert_close(D.logits(tokens[rows[:1]]), expected[:1], atol=1e-5, rtol=0)


TABLES = pytest.mark.parametrize("table_bytes", [0, 200, 2**20])


@every
@both_alphabets
@TABLES
def test_its_scorer_gives_its_logits(name: str, alphabet: Alphabet, table_bytes: int) -> None:
    D, tokens = make(name, alphabet)
    rows = Rows(Sequences(tokens, alphabet.lengths(tokens)))
    scorer = D.scorer(table_bytes)
    assert_close(scorer.logits(rows), D.logits(tokens), atol=1e-5, rtol=0)
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.mul_(1.5)
    scorer.refresh()
    assert_close(scorer.logits(rows), D.logits(tokens), atol=1e-5, rtol=0)


@every
@both_alphabets
@TABLES
@pytest.mark.parametrize("told", [False, True])
def test_its_scorer_may_use_what_sequences_share(
    name: str, alphabet: Alphabet, table_bytes: int, told: bool
) -> None:
    D, tokens = make(name, alphabet)
    lengths = alphabet.lengths(tokens)
    of, rows, shared = [], [], []
    for b, t in [(b, t) for b in range(0, len(tokens), 3) for t in range(1, T) if lengths[b] > t]:
        for row in (tokens[:, :t] == tokens[b, :t]).all(1).nonzero()[:, 0].tolist():
            of, rows, shared = [*of, b], [*rows, row], [*shared, t]
    of, rows, shared = [*of, *range(len(tokens))], [*rows, *range(len(tokens))], [*shared, *[T] * len(tokens)]
    scorer, whole = D.scorer(table_bytes), Sequences(tokens, lengths)
    for least in (1, 2, T):  # a call with longer prefixes only may say so
        some = [i for i, t in enumerate(shared) if t >= least]
        picked = torch.tensor(rows)[some]
        origin = Origin(
            scorer.read(whole), torch.tensor(of)[some], torch.tensor(shared)[some], least if told else 0
        )
        got = scorer.logits(Rows(whole.select(picked), origin))
        assert_close(got, D.logits(tokens)[picked], atol=1e-5, rtol=0)


@every
def test_evaluation_mode_draws_nothing(name: str) -> None:
    D, tokens = make(name, VARIABLE)
    before = torch.get_rng_state()
    once = D.logits(tokens)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(D.logits(tokens), once)


@those(dropout=True)
def test_training_mode_drops_features(name: str) -> None:
    D, tokens = make(name, VARIABLE)
    D.train()
    assert not torch.equal(D.logits(tokens), D.logits(tokens))


@every
@both_alphabets
def test_gradient_reaches_every_parameter(name: str, alphabet: Alphabet) -> None:
    D, tokens = make(name, alphabet)
    source = texts(len(tokens)) if CASES[name].prefixes else None
    D.logits(tokens, source).square().sum().backward()
    for label, parameter in D.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.isfinite().all(), label
        assert parameter.grad.abs().max() > 0, label


@every
def test_regularization_is_a_scalar_that_can_be_added_to_the_loss(name: str) -> None:
    D, tokens = make(name, FIXED)
    penalty = D.regularization()
    assert penalty.shape == ()
    assert penalty >= 0
    (D.logits(tokens).sum() + penalty).backward()


@every
def test_a_state_dict_carries_the_whole_function(name: str) -> None:
    D, tokens = make(name, VARIABLE)
    other = CASES[name].build(VARIABLE).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter))
    assert not torch.allclose(other.logits(tokens), D.logits(tokens))
    other.load_state_dict(copy.deepcopy(D.state_dict()))
    assert torch.equal(other.logits(tokens), D.logits(tokens))


@those(prefixes=True)
@both_alphabets
def test_the_logit_of_a_prefix_is_that_of_the_truncated_sequence(name: str, alphabet: Alphabet) -> None:
    D, tokens = make(name, alphabet)
    prefixes = D.prefix_logits(tokens)
    assert prefixes.shape == tokens.shape
    for t in range(1, T + 1):
        assert_close(prefixes[:, t - 1], D.logits(tokens[:, :t]), atol=1e-6, rtol=0)
    # so that a column past the end holds the logit of the sequence itself
    whole = D.logits(tokens)[:, None].expand_as(prefixes)
    past = ~alphabet.mask(tokens)
    assert_close(prefixes[past], whole[past], atol=1e-6, rtol=0)


@those(prefixes=False)
def test_the_others_refuse_prefixes_and_say_what_to_do(name: str) -> None:
    D, tokens = make(name, VARIABLE)
    explained = f"{type(D).__name__} scores whole sequences only: choose a discriminator that scores prefixes"
    with pytest.raises(ValueError, match=explained):
        D.prefix_logits(tokens)


@pytest.mark.parametrize(
    ("name", "conditions"), [("prefix", texts), ("hierarchical", texts), ("hierarchical", dialogues)]
)
def test_a_conditional_discriminator_reads_its_source_but_not_the_padding(
    name: str, conditions: Callable[[int], Source]
) -> None:
    D, tokens = make(name, FIXED)
    source = conditions(len(tokens))
    assert source.tokens is not None
    assert source.mask is not None
    expected = D.logits(tokens, source)
    assert (D.logits(tokens, source.select(torch.arange(81).roll(1))) - expected).abs().min() > 1e-6
    changed = type(source)(source.tokens.where(source.mask, (source.tokens + 1) % 5), source.mask)
    assert_close(D.logits(tokens, changed), expected)


@every
@both_alphabets
def test_rounded_products_leave_logits_and_gradients_in_float32(name: str, alphabet: Alphabet) -> None:
    D, tokens = make(name, alphabet)
    exact = D.logits(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        logits = D.logits(tokens)
    assert logits.dtype == torch.float32
    assert_close(logits, exact, rtol=0, atol=0.02 * max(1.0, exact.abs().max().item()))
    parameters = list(D.parameters())
    near, right = (
        torch.cat([g.flatten() for g in torch.autograd.grad(out.sum(), parameters, materialize_grads=True)])
        for out in (logits, exact)
    )
    assert near.dtype == torch.float32
    # another window may win where two are almost equal, so that single gradients may differ
    assert torch.nn.functional.cosine_similarity(near, right, dim=0) > 0.99
