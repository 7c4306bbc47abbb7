"""Each content is put once, and the last two are kept."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from algorithms.bleu import References
from algorithms.types import Alphabet, Sequences
from toys import NgramGenerator, TabularDiscriminator
from workers.store import Store

ALPHABET = Alphabet(size=4, start=0, end=1, pad=0, banned=(0,))


class Box:
    """A reference to what was put."""

    def __init__(self, content: object) -> None:
        self.content = content


def generator(seed: int) -> NgramGenerator:
    return NgramGenerator(ALPHABET, 5, seed=seed)


def references(last: int) -> References:
    return References(Sequences(torch.tensor([[1, 2, last]]), torch.tensor([3])))


D = TabularDiscriminator(ALPHABET, 5)


def test_only_new_contents_are_put():
    put: list[object] = []
    store = Store(lambda content: put.append(content) or Box(content))
    tags, size = store.publish(generator(1), D, None)
    assert len(put) == 2  # the policy is the generator
    assert size == sum(len(weights.buffer) for weights in put)
    assert store.publish(generator(1), D, None) == (tags, 0)
    assert len(put) == 2
    tags, _ = store.publish(generator(2), D, generator(1))
    assert len(put) == 3
    assert {name: tag.version for name, tag in tags.items()} == {
        "generator": 2,
        "policy": 1,
        "discriminator": 1,
    }
    for name, (box,) in store.parcels().items():
        assert box.content.digest == tags[name].digest


def test_contents_that_return_are_found_again():
    put: list[object] = []
    store = Store(lambda content: put.append(content) or Box(content))
    store.publish(generator(1), D, None)
    for last in (2, 3, 2):
        store.refer(references(last))
        assert store.parcels()["references"][0].content.lengths.tolist() == [3]
        assert store.wanted().references is not None
    assert len(put) == 4
    store.refer(None)
    assert store.wanted().references is None
    assert "references" not in store.parcels()


def test_the_last_two_are_kept():
    boxes: list[weakref.ref[Box]] = []

    def put(content: object) -> Box:
        box = Box(content)
        boxes.append(weakref.ref(box))
        return box

    store = Store(put)
    for seed in range(4):
        store.publish(generator(seed), D, None)
    gc.collect()
    assert [box() is not None for box in boxes] == [False, True, False, True, True]  # the second: D


def test_what_was_lost_is_put_again():
    store = Store(Box)
    store.publish(generator(1), D, None)
    store.refer(references(2))
    before, wanted = store.parcels(), store.wanted()
    store.put_again()
    assert store.edition == 1
    assert store.wanted() == wanted
    assert all(store.parcels()[name][0] is not before[name][0] for name in before)


def test_what_could_not_be_put_is_put_by_the_next_publication():
    full = [True]

    def put(content: object) -> Box:
        if full:
            full.clear()
            raise MemoryError("full")
        return Box(content)

    store = Store(put)
    with pytest.raises(MemoryError):
        store.publish(generator(1), D, None)
    tags, size = store.publish(generator(1), D, None)
    assert size > 0
    for name, (box,) in store.parcels().items():
        assert box.content.digest == tags[name].digest


def test_nothing_can_be_wanted_before_it_is_published():
    with pytest.raises(ValueError, match="publish networks"):
        Store(Box).wanted()
