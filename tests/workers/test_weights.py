"""Weights arrive to the bit or not at all."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from algorithms.bleu import References
from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.types import Alphabet, Sequences
from workers.failures import WrongWeights
from workers.weights import NETWORKS, Publications, digest_of, load, pack

ALPHABET = Alphabet(size=11, start=0, end=1, pad=0, banned=(0,))


class Everything(nn.Module):
    """Parameters and buffers of every kind that torch models have."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.matrix = nn.Parameter(torch.randn(3, 5, generator=draw))
        self.turned = nn.Parameter(torch.randn(4, 6, generator=draw).t())
        self.brief = nn.Parameter(torch.randn(7, generator=draw).bfloat16())
        self.scalar = nn.Parameter(torch.randn((), generator=draw, dtype=torch.float64))
        self.single = nn.Parameter(torch.randn((), generator=draw).expand(1))  # of stride 0
        self.empty = nn.Parameter(torch.empty(0, 3))
        self.register_buffer("mask", torch.rand(9, generator=draw) > 0.5)
        self.register_buffer("steps", torch.tensor(seed))
        self.register_buffer("small", torch.tensor([seed, -seed], dtype=torch.int16))
        self.register_buffer("unsaved", torch.randn(2, generator=draw), persistent=False)
        self.again = self.matrix  # shared


def lstm() -> LSTMGenerator:
    return LSTMGenerator.Config(embedding=4, hidden=3).build(ALPHABET, 6)


def cnn() -> TextCNN:
    return TextCNN.Config(embedding=4, filters=((1, 2), (3, 2))).build(ALPHABET, 6)


def same(a: nn.Module, b: nn.Module) -> bool:
    left = [*a.parameters(), *a.buffers()]
    return all(torch.equal(x, y) for x, y in zip(left, [*b.parameters(), *b.buffers()], strict=True))


def test_every_dtype_and_shape_arrives():
    sent, received = Everything(1), Everything(2)
    assert not same(sent, received)
    weights = pack("generator", sent, 3)
    weights.buffer.flags.writeable = False  # as it comes out of a shared store
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(received, weights)
    assert same(sent, received)
    assert received.again is received.matrix
    assert pack("generator", received, 3).digest == weights.digest


def test_what_was_loaded_can_be_trained():
    received = lstm()
    weights = pack("generator", lstm(), 1)
    before = weights.buffer.copy()
    load(received, weights)
    assert all(parameter.requires_grad for parameter in received.parameters())
    with torch.no_grad():
        for parameter in received.parameters():
            parameter.zero_()
    assert np.array_equal(weights.buffer, before)


def test_the_manifest_has_a_fixed_order_and_covers_the_buffer():
    weights = pack("generator", Everything(1), 1)
    names = [entry.name for entry in weights.entries]
    assert names == sorted(names)
    assert {"mask", "steps", "unsaved", "empty"} <= set(names)
    ends = [entry.offset + entry.bytes for entry in weights.entries]
    assert [0, *ends[:-1]] == [entry.offset for entry in weights.entries]
    assert ends[-1] == len(weights.buffer)


@pytest.mark.parametrize("build", [lstm, cnn, lambda: Everything(1)], ids=["lstm", "cnn", "everything"])
def test_one_flipped_bit_of_any_tensor_is_noticed(build):
    weights = pack("discriminator", build(), 7)
    for entry in weights.entries:
        if not entry.bytes:
            continue
        damaged = dataclasses.replace(weights, buffer=weights.buffer.copy())
        damaged.buffer[entry.offset] ^= 1
        with pytest.raises(WrongWeights, match="discriminator, version 7") as caught:
            load(build(), damaged)
        assert (caught.value.network, caught.value.version) == ("discriminator", 7)
        assert weights.digest in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: delattr(m, "brief"), "brief is unknown to the module"),
        (lambda m: setattr(m, "more", nn.Parameter(torch.ones(1))), "more is missing"),
        (lambda m: setattr(m, "brief", nn.Parameter(torch.ones(6).bfloat16())), r"bfloat16 \[7\].*\[6\]"),
        (lambda m: setattr(m, "brief", nn.Parameter(torch.ones(7))), "brief is bfloat16.*float32"),
    ],
)  # fmt: skip
def test_another_module_is_refused(change, told):
    other = Everything(1)
    change(other)
    before = copy.deepcopy(other)
    with pytest.raises(WrongWeights, match=told):
        load(other, pack("policy", Everything(2), 1))
    assert same(other, before)


def test_a_short_buffer_is_refused():
    weights = pack("policy", Everything(1), 1)
    with pytest.raises(WrongWeights, match="bytes"):
        load(Everything(1), dataclasses.replace(weights, buffer=weights.buffer[:-1]))


def test_the_failure_survives_being_sent():
    sent = pickle.loads(pickle.dumps(WrongWeights("told", network="policy", version=4)))
    assert (str(sent), sent.network, sent.version) == ("told", "policy", 4)


def test_a_version_counts_contents():
    publications, G, D = Publications(), lstm(), cnn()
    assert [w.network for w in publications.update(G, D, None)] == list(NETWORKS)
    assert publications.update(G, D, None) == []
    assert publications.update(copy.deepcopy(G), D, copy.deepcopy(G)) == []
    with torch.no_grad():
        D.output.bias.add_(1)
    assert [(w.network, w.version) for w in publications.update(G, D, None)] == [("discriminator", 2)]
    with torch.no_grad():
        G.bias.add_(1)
    assert [w.network for w in publications.update(G, D, None)] == ["generator", "policy"]
    assert {name: w.version for name, w in publications.latest.items()} == dict.fromkeys(NETWORKS, 2)


def test_equal_networks_have_equal_hashes_under_any_name():
    G = lstm()
    assert pack("generator", G, 1).digest == pack("policy", copy.deepcopy(G), 9).digest
    assert pack("generator", G, 1).digest != pack("generator", lstm(), 1).digest


def references(last: int) -> References:
    tokens = torch.tensor([[1, 2, 3], [2, 3, last]])
    return References(Sequences(tokens, torch.tensor([3, 3])))


def test_the_hash_of_references_is_that_of_their_content():
    assert digest_of(references(4)) == digest_of(references(4))
    assert digest_of(references(4)) != digest_of(references(5))
    assert digest_of(("a", "b")) != digest_of(("ab",))
    assert digest_of([1, (2, 3)]) != digest_of([1, 2, 3])
    assert digest_of({"a": torch.ones(2)}) != digest_of({"a": torch.ones(2, 1)})
    with pytest.raises(TypeError, match="no content hash"):
        digest_of(object())
