"""Samplers and a scorer that follow their networks' weights when they are told of them."""

from __future__ import annotations

import torch

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.types import Alphabet, Rows, Sequences
from workers.prepared import Prepared
from workers.rollout import Networks

ALPHABET = Alphabet(size=20)


def networks() -> Networks:
    torch.manual_seed(0)
    G, policy = (LSTMGenerator.Config(embedding=4, hidden=5).build(ALPHABET, 5) for _ in range(2))
    return Networks(
        G, policy, TextCNN.Config(embedding=4, filters=((1, 3), (3, 4))).build(ALPHABET, 5)
    ).eval()


def rows() -> Rows:
    tokens = torch.randint(20, (7, 5), generator=torch.Generator().manual_seed(1))
    return Rows(Sequences(tokens, torch.full((7,), 5)))


def change(network: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.2)


def probabilities(G: torch.nn.Module) -> torch.Tensor:
    weights, _ = G.weigh(G.start(3), torch.tensor([1, 2, 3]))
    return weights / weights.sum(1, keepdim=True)


def expected(G: torch.nn.Module) -> torch.Tensor:
    logits, _ = G.step(G.start(3), torch.tensor([1, 2, 3]))
    return logits.softmax(1)


def test_a_scorer_follows_when_it_is_told() -> None:
    nets = networks()
    prepared, judged = Prepared(nets, 2**20), rows()
    first = prepared.scorer().logits(judged)
    change(nets.discriminator)
    assert prepared.scorer().logits(judged).equal(first)
    prepared.changed("discriminator")
    torch.testing.assert_close(
        prepared.scorer().logits(judged), nets.discriminator.logits(judged.sequences.tokens)
    )


def test_it_may_be_asked_for_in_inference_mode_first() -> None:
    nets = networks()
    prepared, judged = Prepared(nets, 2**20), rows()
    with torch.inference_mode():
        prepared.scorer()
        prepared.networks(shared=True)
    change(nets.discriminator)
    prepared.changed("discriminator")
    torch.testing.assert_close(
        prepared.scorer().logits(judged), nets.discriminator.logits(judged.sequences.tokens)
    )
    assert not prepared.networks(shared=True).generator._output.is_inference()


@torch.no_grad()
def test_samplers_follow_when_they_are_told() -> None:
    nets = networks()
    prepared = Prepared(nets, 0)
    for name in ("generator", "policy"):
        before = expected(getattr(nets, name))
        torch.testing.assert_close(probabilities(getattr(prepared.networks(shared=False), name)), before)
        change(getattr(nets, name))
        prepared.changed(name)
        after = probabilities(getattr(prepared.networks(shared=False), name))
        torch.testing.assert_close(after, expected(getattr(nets, name)))
        assert not torch.allclose(after, before)


def test_where_the_generator_completes_its_own_prefixes() -> None:
    prepared = Prepared(networks(), 0)
    shared, apart = prepared.networks(shared=True), prepared.networks(shared=False)
    assert shared.policy is shared.generator
    assert apart.policy is not apart.generator
