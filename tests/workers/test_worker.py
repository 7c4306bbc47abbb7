"""A worker without Ray: arrays in, arrays out, and never with other weights than wanted."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from algorithms.bleu import References
from algorithms.models.lstm import LSTMGenerator
from algorithms.types import Alphabet, RolloutSpec, Sequences, Source
from toys import NgramGenerator, TabularDiscriminator, ToySeq2Seq
from workers.failures import WrongWeights
from workers.messages import Failed, Result, Task, Wanted, device_class
from workers.rollout import Block, Networks, rollout
from workers.weights import Tag, Weights, pack
from workers.worker import RolloutWorker, skeleton

ALPHABET = Alphabet(size=4, start=0, end=1, pad=0, banned=(0,))
SPEC, PATH = RolloutSpec(completions=2), (1, "y")


@pytest.fixture(autouse=True)
def _as_it_was():
    """A worker settles its process; here that is the tests' own."""
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def generator(seed: int) -> NgramGenerator:
    return NgramGenerator(ALPHABET, 5, seed=seed)


def published(seed: int, policy: int | None = None) -> dict[str, Weights]:
    return {
        "generator": pack("generator", generator(seed), 1),
        "policy": pack("policy", generator(seed if policy is None else policy), 1),
        "discriminator": pack("discriminator", TabularDiscriminator(ALPHABET, 5), 1),
    }


def wanted(weights: dict[str, Weights], references: str | None = None) -> Wanted:
    return Wanted(**{name: one.tag for name, one in weights.items()}, references=references)


def fresh() -> RolloutWorker:
    networks = Networks(generator(90), generator(91), TabularDiscriminator(ALPHABET, 5))
    return RolloutWorker(networks, 2**24)


def ready(weights: dict[str, Weights]) -> RolloutWorker:
    worker = fresh()
    for name in worker.missing(wanted(weights)):
        worker.load(name, weights[name])
    return worker


def task(weights: dict[str, Weights], block: Block | None = None, spec: RolloutSpec = SPEC) -> Task:
    return Task.of(block or Block(3, 5), spec, PATH, 0.9, wanted(weights))


def test_a_unit_is_that_of_the_pure_function():
    weights = published(1, policy=2)
    result = ready(weights).run(task(weights))
    G, policy, D = generator(1), generator(2), TabularDiscriminator(ALPHABET, 5)
    alone = rollout(Networks(G, policy, D).eval(), SPEC, Block(3, 5), PATH, temperature=0.9)
    made = result.rollouts()
    assert torch.equal(made.sequences.tokens, alone.sequences.tokens)
    assert torch.equal(made.sequences.lengths, alone.sequences.lengths)
    assert torch.equal(made.log_prob, alone.log_prob)
    assert torch.equal(made.scores, alone.scores)
    assert result.used == wanted(weights)


def test_what_is_sent_is_plain_data():
    weights = published(1)
    real = Sequences(torch.tensor([[2, 3, 1, 0, 0]] * 5), torch.tensor([3] * 5))
    sent = task(weights, Block(0, 5, None, real), RolloutSpec(completions=1, clamp=2))
    result = ready(weights).run(pickle.loads(pickle.dumps(sent)))
    assert isinstance(result.scores, np.ndarray)
    assert b"torch" not in pickle.dumps(result)
    assert result.sequences[0][:, :2].tolist() == [[2, 3]] * 5
    result.scores.flags.writeable = False
    result.rollouts().scores.zero_()
    assert result.scores.any()


def test_the_condition_comes_back_with_its_sequences():
    G, D = ToySeq2Seq(ALPHABET, 5), TabularDiscriminator(ALPHABET, 5)
    worker = RolloutWorker(Networks(G, G, D), 2**24)
    weights = {
        name: pack(name, net, 1) for name, net in [("generator", G), ("policy", G), ("discriminator", D)]
    }
    for name in worker.missing(wanted(weights)):
        worker.load(name, weights[name])
    source = Source(torch.tensor([[1, 2], [2, 3]]), torch.tensor([[True, False], [True, True]]))
    made = worker.run(task(weights, Block(0, 2, source), RolloutSpec())).rollouts()
    assert torch.equal(made.sequences.source.tokens, source.tokens)
    assert torch.equal(made.sequences.source.mask, source.mask)
    assert made.sequences.source.vector is None


def test_only_what_is_not_held_is_missing():
    weights = published(1, policy=2)
    assert fresh().missing(wanted(weights)) == ["generator", "policy", "discriminator"]
    worker = ready(weights)
    assert worker.missing(wanted(weights)) == []
    assert worker.missing(wanted(published(3, policy=2))) == ["generator"]
    assert worker.missing(wanted(weights, references="r")) == ["references"]
    worker.refer("r", References(Sequences(torch.tensor([[2, 3]]), torch.tensor([2]))))
    assert worker.missing(wanted(weights, references="r")) == []


def test_a_policy_that_equals_the_generator_needs_no_copy():
    weights = published(1)
    assert fresh().missing(wanted(weights)) == ["generator", "discriminator"]
    result = ready(weights).run(task(weights))
    assert result.used.policy == weights["policy"].tag
    G, D = generator(1), TabularDiscriminator(ALPHABET, 5)
    alone = rollout(Networks(G, G, D).eval(), SPEC, Block(3, 5), PATH, temperature=0.9)
    assert torch.equal(result.rollouts().scores, alone.scores)


def test_a_unit_is_refused_without_its_weights():
    weights = published(1)
    worker = ready(weights)
    failed = worker.attempt(task(published(2)))
    assert isinstance(failed, Failed)
    assert failed.error is None
    assert "not loaded, although wanted: generator" in failed.text


def test_wrong_weights_leave_the_network_unusable():
    weights = published(1)
    worker = ready(weights)
    other = published(2)["generator"]
    other.buffer[3] ^= 4
    with pytest.raises(WrongWeights, match="generator, version 1"):
        worker.load("generator", other)
    assert worker.missing(wanted(weights)) == ["generator"]


def test_equal_content_under_a_new_number_is_not_loaded_again():
    weights = published(1)
    worker = ready(weights)
    renumbered = wanted(weights)
    renumbered = replace(renumbered, discriminator=Tag(5, renumbered.discriminator.digest))
    assert worker.missing(renumbered) == []
    result = worker.run(replace(task(weights), wanted=renumbered))
    assert result.used == renumbered


def test_an_exception_is_data_with_its_traceback():
    weights = published(1)
    failed = ready(weights).attempt(task(weights, spec=RolloutSpec(scores=("no_such_score",))))
    assert isinstance(failed, Failed)
    assert "ValueError" in failed.text
    assert "lookup" in failed.text


def test_who_it_is():
    described = fresh().describe()
    assert described.pid == os.getpid()
    assert described.device_class.threads == 1
    assert described.device_class.dtype == "float32"
    assert described.device_class.torch.startswith(torch.__version__)
    assert torch.backends.cpu.get_cpu_capability() in described.device_class.capability
    assert described.device_class == fresh().describe().device_class
    weights = published(1)
    assert ready(weights).run(task(weights)).device_class == described.device_class


def test_a_device_class_is_told_in_short_and_no_two_alike():
    one = device_class(torch.device("cpu"), torch.float32, threads=1)
    assert one == fresh().device_class
    assert one.on_cpu
    others = [
        replace(one, device="NVIDIA H100"),
        replace(one, capability=one.capability + " another_flag"),
        replace(one, torch="1.0"),
        replace(one, dtype="float64"),
        replace(one, threads=2),
    ]
    assert not others[0].on_cpu
    assert len({str(each) for each in [one, *others]}) == 6
    assert len(str(one)) < 150
    assert str(one).endswith("float32, 1 thread")


def test_times_add_up():
    weights = published(1)
    worker = ready(weights)
    first, second = worker.run(task(weights)), worker.run(task(weights))
    assert isinstance(first, Result)
    assert first.load_s > 0
    assert second.load_s == 0
    assert min(first.compute_s, second.compute_s) > 0
    assert min(first.wait_s, second.wait_s) >= 0


def test_a_skeleton_is_small_and_works_like_the_whole():
    G, D = LSTMGenerator.Config(embedding=64, hidden=64).build(ALPHABET, 5), TabularDiscriminator(ALPHABET, 5)
    G.turned = nn.Parameter(torch.ones(3, 2).t())
    G.tied = G.bias
    G.single = nn.Parameter(torch.ones(1))
    whole = Networks(G, G, D)
    bare = skeleton(whole)
    assert len(pickle.dumps(bare)) < len(pickle.dumps(whole)) / 10
    assert bare.generator.turned.stride() == G.turned.stride()
    worker = RolloutWorker(pickle.loads(pickle.dumps(bare)), 2**24)
    weights = {
        name: pack(name, net, 1) for name, net in [("generator", G), ("policy", G), ("discriminator", D)]
    }
    for name in worker.missing(wanted(weights)):
        worker.load(name, weights[name])
    alone = rollout(whole.eval(), SPEC, Block(3, 5), PATH, temperature=0.9)
    assert torch.equal(worker.run(task(weights)).rollouts().scores, alone.scores)
    assert G.bias.any()


def test_one_module_in_two_roles_becomes_two():
    G, weights = generator(5), published(1, policy=2)
    worker = RolloutWorker(Networks(G, G, TabularDiscriminator(ALPHABET, 5)), 2**24)
    for name in worker.missing(wanted(weights)):
        worker.load(name, weights[name])
    again = ready(weights).run(task(weights))
    assert np.array_equal(worker.run(task(weights)).scores, again.scores)
