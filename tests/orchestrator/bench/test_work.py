"""Each action is what a run does there."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from algorithms.types import RolloutSpec
from orchestrator import checkpoints
from orchestrator.bench.timing import peak_bytes
from orchestrator.bench.work import reference
from orchestrator.config import RunConfig


def test_the_reference_is_what_the_configuration_says_by_itself():
    config, defaults = reference(), RunConfig()
    assert config.generator == defaults.generator
    assert config.discriminator == defaults.discriminator
    assert config.algorithm == defaults.algorithm
    assert config.pretrain == defaults.pretrain
    assert config.rollout == defaults.rollout
    assert (config.batch_size, config.data.sequences) == (64, 9_984)
    assert (config.data.oracle_vocabulary, config.data.oracle_length) == (5_000, 20)
    assert reference(changes=["batch_size=3"]).batch_size == 3


def test_rollouts_have_the_sizes_of_a_step(work):
    fake, sizes = work.fake(), work.sizes
    assert fake.scores.shape == (sizes.B, sizes.T, sizes.N, 1)
    assert work.fake() is fake
    assert len(work.sample_negatives()) == sizes.negatives == 64
    first, second = (work.collect(work.spec).sequences.tokens for _ in range(2))
    assert not torch.equal(first, second)  # each time other numbers


@pytest.mark.parametrize(
    ("action", "moves", "optimizer"),
    [
        ("mle_step", "generator", "pretrain"),
        ("generator_step", "generator", "generator"),
        ("discriminator_step", "discriminator", "discriminator"),
    ],
)
def test_a_step_moves_its_network_and_no_other(work, action, moves, optimizer):
    before = {name: copy.deepcopy(net.state_dict()) for name, net in work.state.networks().items()}
    getattr(work, action)()
    for name, net in work.state.networks().items():
        same = all(torch.equal(value, before[name][key]) for key, value in net.state_dict().items())
        assert same == (name != moves or not before[name])
    assert work.state.optimizers[optimizer].state


def test_published_weights_are_new_after_learning(work):
    work.learn_a_little()
    assert {one.network for one in work.pack_weights()} == {"generator", "policy", "discriminator"}
    assert work.pack_weights() == []
    work.load_weights()
    work.pool.report()
    work.learn_and_publish()
    assert work.pool.report()["weights/published_bytes"] > 0


def test_a_checkpoint_is_one_of_a_run(work, tmp_path: Path):
    work.mle_step()
    work.save(tmp_path)
    work.save(tmp_path)
    first, second = checkpoints.steps(tmp_path)
    found = checkpoints.load(tmp_path, second)
    work.state.restore(found.tensors, found.meta["counters"])
    assert first < second


def test_a_unit_in_this_thread_is_seen_by_the_profiler(work):
    unit = work.first_unit(work.spec, work.sizes.B)
    assert 0 < len(unit.sequences) <= work.sizes.B
    assert peak_bytes(lambda: work.first_unit(work.spec, work.sizes.B), work.device) > 10_000
    assert len(work.first_unit(RolloutSpec(scores=()), 7).sequences) == 7
