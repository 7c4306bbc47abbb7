"""What every registered algorithm promises: a new paper is tested by being registered."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.testing import assert_close

from algorithms.base import Algorithm, Stage
from algorithms.models.base import Discriminator, Generator
from algorithms.models.lstm import LSTMGenerator
from algorithms.models.residual_conv import ResidualConvDiscriminator, ResidualConvGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.registry import ALGORITHMS, AlgorithmConfig, build
from algorithms.scores import SCORES
from algorithms.types import Alphabet, Loss, Rollouts, Sequences, Source

T = 5
FIXED = Alphabet(size=6)
VARIABLE = Alphabet(size=6, start=0, end=1, pad=2, banned=(0, 2))
STAGES: tuple[Stage, ...] = get_args(Stage)

every = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.__name__)
both_alphabets = pytest.mark.parametrize("alphabet", [FIXED, VARIABLE], ids=["fixed", "variable"])


def configuration(algorithm: type[Algorithm]) -> Algorithm.Config:
    return algorithm.Config.model_validate({})


def made(algorithm: type[Algorithm]) -> Algorithm:
    """With its defaults, and the networks of its own where it has some."""
    built = build(configuration(algorithm))
    torch.manual_seed(9)
    built.prepare(VARIABLE, T)
    return built


def adversarial(algorithm: type[Algorithm]) -> bool:
    return "adversarial" in algorithm.stages


def trains_discriminator(algorithm: type[Algorithm]) -> bool:
    steps = configuration(algorithm).d_steps
    return "pretrain_discriminator" in algorithm.stages or (adversarial(algorithm) and steps > 0)


def networks(
    alphabet: Alphabet, algorithm: type[Algorithm] | Algorithm | None = None
) -> tuple[Generator, Discriminator]:
    """Small ones, without dropout: what a loss draws it draws from its own generator."""
    torch.manual_seed(5)
    if algorithm is not None and algorithm.relaxes:
        small = {"dim": 4, "blocks": 1, "width": 3, "slope": 0.2}
        G = ResidualConvGenerator.Config(latent=3, **small).build(alphabet, T)
        return G, ResidualConvDiscriminator.Config(**small).build(alphabet, T)
    G = LSTMGenerator.Config(embedding=3, hidden=4, init_std=0.5).build(alphabet, T)
    D = TextCNN.Config(embedding=3, filters=((1, 4), (2, 4)), dropout=0.0).build(alphabet, T)
    return G, D


def rows(alphabet: Alphabet, count: int, seed: int) -> Sequences:
    """Random sequences; with an end symbol their lengths are 1 .. T, several times each."""
    rng = torch.Generator().manual_seed(seed)
    if alphabet.end is None:
        tokens = torch.randint(alphabet.size, (count, T), generator=rng)
        return Sequences(tokens, alphabet.lengths(tokens))
    tokens = torch.randint(3, alphabet.size, (count, T), generator=rng)
    last = torch.arange(count) % (T + 1)  # T: it never ends
    position = torch.arange(T)
    tokens = tokens.masked_fill(position == last[:, None], alphabet.end)
    tokens = tokens.masked_fill(position > last[:, None], alphabet.pad)
    return Sequences(tokens, alphabet.lengths(tokens))


def rollouts(algorithm: Algorithm, G: Generator, scores: Tensor | None = None) -> Rollouts:
    """Sequences and scores of the shape that the algorithm asked for; from the last token on they repeat."""
    spec = algorithm.rollouts(0)
    count = 12 if spec.samples == 1 else 2 * spec.samples
    Y, N, K = generated(G, count), spec.completions, len(spec.scores)
    shape = (count, T, N, K) if N else (count, 1, 1, K)
    if scores is None:
        scores = torch.rand(shape, generator=torch.Generator().manual_seed(2))
        if shape[1] == T:
            final = scores.gather(1, (Y.lengths - 1).view(-1, 1, 1, 1).expand(-1, 1, N, K))[:, :, :1]
            past = torch.arange(1, T + 1) >= Y.lengths[:, None]
            scores = torch.where(past[:, :, None, None], final, scores)
    return Rollouts(Y, G.log_prob(Y.tokens, Y.source).detach(), scores, spec.clamp)


def generated(G: Generator, count: int) -> Sequences:
    """As ``rows``, from latents where the generator has some."""
    Y = rows(G.alphabet, count, seed=1)
    z = torch.randn(count, G.latent, generator=torch.Generator().manual_seed(6))
    return replace(Y, source=Source(vector=z)) if G.latent else Y


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def generator_loss(algorithm: Algorithm, alphabet: Alphabet) -> tuple[Loss, Generator, Discriminator]:
    G, D = networks(alphabet, algorithm)
    fake, real = rollouts(algorithm, G), rows(alphabet, 12, seed=4)
    return algorithm.generator_loss(G, D, fake, real, rng()), G, D


def discriminator_loss(algorithm: Algorithm, alphabet: Alphabet) -> tuple[Loss, Generator, Discriminator]:
    G, D = networks(alphabet, algorithm)
    fake, real = generated(G, 12), rows(alphabet, 12, seed=4)
    return algorithm.discriminator_loss(G, D, fake, real, rng()), G, D


def check(loss: Loss, *, reaches: nn.Module, spares: nn.Module | None) -> None:
    """A finite scalar, whose gradient reaches every parameter of one network and none of the other.

    Only the last bias of a critic has none, in a difference of its values.
    """
    assert loss.value.shape == ()
    assert loss.value.isfinite()
    for name, value in loss.metrics.items():
        assert value.shape == (), name
        assert not value.requires_grad, name
        assert value.isfinite(), name
    loss.value.backward()
    for name, parameter in reaches.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0 or ("d/wasserstein" in loss.metrics and name == "output.bias")
    for name, parameter in spares.named_parameters() if spares is not None else ():
        assert parameter.grad is None, name


def test_the_list_and_the_union_name_the_same_algorithms() -> None:
    union = get_args(get_args(AlgorithmConfig)[0])
    assert set(union) == {algorithm.Config for algorithm in ALGORITHMS}
    names = [configuration(algorithm).name for algorithm in ALGORITHMS]
    assert len(set(names)) == len(ALGORITHMS) >= 4


def test_an_unregistered_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="not registered"):
        build(Algorithm.Config(name="another"))


@every
def test_builds_by_name_with_its_defaults(algorithm: type[Algorithm]) -> None:
    config = configuration(algorithm)
    dispatched: Algorithm.Config = TypeAdapter(AlgorithmConfig).validate_python({"name": config.name})
    assert dispatched == config
    built = build(dispatched)
    assert type(built) is algorithm
    assert built.config == config


@every
def test_configuration_is_frozen_described_and_knows_its_keys(algorithm: type[Algorithm]) -> None:
    config, key = configuration(algorithm), "g_steps"
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, key, 7)
    with pytest.raises(ValidationError, match="g_stepz"):
        algorithm.Config.model_validate({"g_stepz": 1})
    with pytest.raises(ValidationError, match="g_steps"):
        algorithm.Config.model_validate({"g_steps": 0})
    assert algorithm.Config.model_validate_json(config.model_dump_json()) == config
    for name, field in algorithm.Config.model_fields.items():
        assert field.description or name == "name", name


@every
def test_says_where_it_departs_from_its_paper(algorithm: type[Algorithm]) -> None:
    assert "\nDepartures: " in (sys.modules[algorithm.__module__].__doc__ or "")


@every
def test_stages_are_known_and_in_order(algorithm: type[Algorithm]) -> None:
    assert algorithm.stages
    assert list(algorithm.stages) == [stage for stage in STAGES if stage in algorithm.stages]


@every
def test_what_it_needs_is_a_pure_function_of_the_step(algorithm: type[Algorithm]) -> None:
    one, other = made(algorithm), made(algorithm)
    random, kept = torch.get_rng_state(), copy.deepcopy(one.state_dict())
    forward = [one.rollouts(step) for step in range(200)]
    assert [other.rollouts(step) for step in reversed(range(200))] == forward[::-1]
    assert torch.equal(torch.get_rng_state(), random)
    assert str(one.state_dict()) == str(kept)
    for spec in forward:
        assert spec.samples >= 1
        assert spec.completions >= 0
        assert spec.clamp >= 0
        assert set(spec.scores) <= set(SCORES)


@every
@both_alphabets
def test_pretraining_descends_in_the_generator_alone(algorithm: type[Algorithm], alphabet: Alphabet) -> None:
    G, D = networks(alphabet)
    built = made(algorithm)
    for epoch in (0, 1_000_000):
        G.zero_grad()
        check(built.pretrain_loss(G, rows(alphabet, 12, seed=4), epoch, rng()), reaches=G, spares=D)


@every
@both_alphabets
def test_credit_is_a_constant_for_every_token(algorithm: type[Algorithm], alphabet: Alphabet) -> None:
    built = made(algorithm)
    G, _ = networks(alphabet, algorithm)
    fake = rollouts(built, G)
    credit = built.credit(fake)
    assert credit.shape == fake.sequences.tokens.shape
    assert credit.isfinite().all()
    assert not credit.requires_grad


@every
@both_alphabets
def test_generator_loss(algorithm: type[Algorithm], alphabet: Alphabet) -> None:
    built = made(algorithm)
    if not adversarial(algorithm):
        with pytest.raises(ValueError, match=built.config.name):
            generator_loss(built, alphabet)
        return
    loss, G, D = generator_loss(built, alphabet)
    check(loss, reaches=G, spares=None if algorithm.relaxes else D)  # it goes through D


@every
@both_alphabets
def test_discriminator_loss(algorithm: type[Algorithm], alphabet: Alphabet) -> None:
    built = made(algorithm)
    if not trains_discriminator(algorithm):
        with pytest.raises(ValueError, match=built.config.name):
            discriminator_loss(built, alphabet)
        return
    loss, G, D = discriminator_loss(built, alphabet)
    check(loss, reaches=D, spares=G)


@every
def test_losses_draw_from_their_own_generator_alone(algorithm: type[Algorithm]) -> None:
    built = made(algorithm)
    G, _ = networks(VARIABLE)
    real = rows(VARIABLE, 12, seed=4)
    before = torch.get_rng_state()
    once, again = (built.pretrain_loss(G, real, 300, rng()).value for _ in range(2))
    assert torch.equal(once, again)
    assert torch.equal(torch.get_rng_state(), before)
    losses = [generator_loss] * adversarial(algorithm) + [discriminator_loss] * trains_discriminator(
        algorithm
    )
    for loss in losses:
        assert torch.equal(loss(built, VARIABLE)[0].value, loss(built, VARIABLE)[0].value)


@every
def test_what_stands_after_the_end_does_not_matter(algorithm: type[Algorithm]) -> None:
    built = made(algorithm)
    G, D = networks(VARIABLE)
    real = rows(VARIABLE, 12, seed=4)
    changed = Sequences(real.tokens.masked_fill(~real.mask, 4), real.lengths)
    assert not torch.equal(real.tokens, changed.tokens)
    pretrain = [built.pretrain_loss(G, some, 0, rng()).value for some in (real, changed)]
    assert_close(pretrain[0], pretrain[1])
    if not adversarial(algorithm):
        return
    G, D = networks(VARIABLE, algorithm)
    fake = rollouts(built, G)
    scores = fake.scores.clone()
    if scores.shape[1] == T:
        scores[~fake.sequences.mask] = 30.0
        assert not torch.equal(scores, fake.scores)
    other = rollouts(built, G, scores)
    losses = [built.generator_loss(G, D, some, real, rng()).value for some in (fake, other)]
    assert_close(losses[0], losses[1])
