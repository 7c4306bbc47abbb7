"""A state as tensors and numbers, and back."""

from __future__ import annotations

import pytest
import torch

from algorithms.types import Alphabet
from orchestrator.errors import UserError
from orchestrator.recipe import load
from orchestrator.state import TrainState

SMALL = [
    "generator.embedding=4",
    "generator.hidden=4",
    "discriminator.filters=[[1,3]]",
    "discriminator.embedding=4",
]
ALPHABET = Alphabet(size=7)


def fresh(*more: str) -> TrainState:
    return TrainState.fresh(load("seqgan", [*SMALL, *more]), ALPHABET, 5)


def step_all(state: TrainState) -> None:
    for name, optimizer in state.optimizers.items():
        net = state.discriminator if name == "discriminator" else state.generator
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()


def test_networks_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = fresh()
    torch.manual_seed(2)
    assert first.parameters_sha256() == fresh().parameters_sha256()
    assert first.parameters_sha256() != fresh("seed=1").parameters_sha256()


@pytest.mark.parametrize("more", [(), ("algorithm.policy_delay=0.8",)])
def test_a_restored_state_goes_on_in_the_same_way(more: tuple[str, ...]):
    state = fresh(*more)
    step_all(state)
    state.stage, state.done, state.step = 2, 3, 11
    tensors = {name: value.clone() for name, value in state.tensors().items()}
    restored = fresh("seed=9", *more)
    restored.restore(tensors, state.counters())
    assert restored.counters() == state.counters()
    assert restored.parameters_sha256() == state.parameters_sha256()
    step_all(state)
    step_all(restored)
    assert restored.parameters_sha256() == state.parameters_sha256()
    assert any(name.startswith("policy/") for name in tensors) == bool(more)


def test_one_flipped_bit_changes_the_hash():
    state = fresh()
    before = state.parameters_sha256()
    with torch.no_grad():
        state.discriminator.get_parameter("output.bias").view(torch.int32).bitwise_xor_(1)
    assert state.parameters_sha256() != before


def test_a_misfit_is_named():
    state = fresh()
    with pytest.raises(UserError, match="generator does not fit"):
        state.restore({}, state.counters())
    with pytest.raises(UserError, match="does not know: extra"):
        state.restore({**state.tensors(), "extra": torch.zeros(1)}, state.counters())
    other = TrainState.fresh(load("seqgan", SMALL), Alphabet(size=9), 5)
    with pytest.raises(UserError, match="generator does not fit"):
        state.restore(other.tensors(), state.counters())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ["algorithm.name=seqgan", "pretrain.generator_epochs=0"],
            "no prefixes, which .* = seqgan",
        ),
        (["algorithm.name=bgan", "pretrain.generator_epochs=2"], "set pretrain.generator_epochs=0"),
        (
            ["algorithm.name=bgan", "pretrain.generator_epochs=0", "algorithm.teacher_forcing=1.0"],
            "set algorithm.teacher_forcing=0",
        ),
        (["algorithm.name=wgan_gp"], "discriminator.name = text_cnn know: set generator.name=residual_conv"),
    ],
)
def test_what_a_one_shot_generator_cannot_do_is_refused(settings: list[str], told: str):
    one_shot = ["generator.name=residual_conv", "generator.dim=4", "discriminator.filters=[[1,4]]"]
    with pytest.raises(UserError, match=told):
        TrainState.fresh(load("seqgan", [*one_shot, *settings]), Alphabet(size=9), 5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["generator.name=seq2seq"], "seq2seq answers a source, and these data have none: give data.path"),
        (
            ["data.builtin=conditional_oracle"],
            "lstm would not read the sources .* set generator.name=seq2seq",
        ),
        (
            ["data.builtin=conditional_oracle", "generator.name=seq2seq"],
            "text_cnn would not read the sources .* set discriminator.name=hierarchical",
        ),
        (
            ["algorithm.name=adversarial_dialogue", "algorithm.reward=prefix", "algorithm.baseline=none"],
            "text_cnn scores whole sequences only, .* set discriminator.name=hierarchical",
        ),
    ],
)
def test_sources_and_prefixes_want_networks_that_read_them(settings: list[str], told: str):
    small = ["discriminator.filters=[[1,4]]", "generator.embedding=4", "generator.hidden=4"]
    with pytest.raises(UserError, match=told):
        TrainState.fresh(load("seqgan", [*small, *settings]), Alphabet(size=9), 5)


def test_a_buffer_of_a_single_value_has_a_part_in_the_hash():
    one_shot = ["generator.name=residual_conv", "generator.dim=4", "generator.batch_norm=true"]
    settings = [
        *one_shot,
        "algorithm.name=bgan",
        "pretrain.generator_epochs=0",
        "discriminator.filters=[[1,4]]",
    ]
    state = TrainState.fresh(load("seqgan", settings), Alphabet(size=9), 5)
    before = state.parameters_sha256()
    state.algorithm.moving.fill_(1.0)
    assert state.parameters_sha256() != before


@pytest.mark.parametrize("settings", ["optimizer=rmsprop", "optimizer=sgd", "optimizer=sgd momentum=0.5"])
def test_every_optimisers_memory_is_restored(settings: str):
    config = load(
        "wgan_char",
        [
            "generator.dim=4",
            "discriminator.dim=4",
            "generator.blocks=1",
            "discriminator.blocks=1",
            *(f"algorithm.{one}" for one in settings.split()),
        ],
    )
    first, second = (TrainState.fresh(config, Alphabet(size=9), 5) for _ in "ab")
    for state in (first, second):
        for step in range(3):
            for parameter in state.discriminator.parameters():
                parameter.grad = torch.full_like(parameter, 1.0 + step)
            state.optimizers["discriminator"].step()
            if step == 1 and state is second:  # all is forgotten, and put back
                tensors, counters = {k: v.clone() for k, v in state.tensors().items()}, state.counters()
                state.renew_optimizers(config)
                state.restore(tensors, counters)
    assert first.parameters_sha256() == second.parameters_sha256()
