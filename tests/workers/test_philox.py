"""Random numbers with addresses: known answers of Philox4x32-10, uniformity, independence of the batch."""

from __future__ import annotations

import pytest
import torch

from workers.philox import generator, global_random, normal, philox, seed_of, uniform

# Known answers published with Random123 (Salmon et al. 2011): counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter, key, words):
    result = philox(tuple(torch.tensor([word]) for word in counter), key[0] | key[1] << 32)
    assert tuple(int(word) for word in result) == words


def test_uniform_is_a_function_of_the_address_alone():
    numbers = torch.arange(100)
    whole = uniform((1, "a"), numbers, 3, numbers % 5, 7)
    shuffled = torch.randperm(100)
    again = uniform((1, "a"), numbers[shuffled], 3, (numbers % 5)[shuffled], 7)
    assert torch.equal(whole[shuffled], again)
    assert torch.equal(whole[41:42], uniform((1, "a"), numbers[41:42], 3, torch.tensor([1]), 7))


@pytest.mark.parametrize(
    "other", [((1, "b"), 3, 1, 7), ((1, "a"), 4, 1, 7), ((1, "a"), 3, 2, 7), ((1, "a"), 3, 1, 8)]
)
def test_every_part_of_the_address_matters(other):
    numbers = torch.arange(64)
    path, prefix, completion, position = other
    assert not torch.isin(
        uniform((1, "a"), numbers, 3, 1, 7), uniform(path, numbers, prefix, completion, position)
    ).any()


def test_uniform_is_uniform():
    numbers = torch.arange(200_000)
    u = uniform((0,), numbers, 0, 0, 1)
    assert u.dtype == torch.float64
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    # mean of n uniforms: standard error 1 / sqrt(12 n); five of them
    assert abs(u.mean() - 0.5) < 5 / (12 * 200_000) ** 0.5
    counts = torch.histc(u.float(), 100, 0, 1)
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_square < 99 + 5 * (2 * 99) ** 0.5  # mean 99, variance 198


def test_normal_has_mean_zero_and_variance_one():
    z = normal(("z",), torch.arange(50_000), 4)
    assert z.shape == (50_000, 4)
    assert abs(z.mean()) < 5 / 200_000**0.5
    assert abs(z.var() - 1) < 5 * (2 / 200_000) ** 0.5
    assert abs(torch.corrcoef(z.T) - torch.eye(4)).max() < 5 / 50_000**0.5


def test_paths_do_not_collide_by_concatenation():
    assert len({seed_of(path) for path in [(1, 23), (12, 3), ("1", 23), (1, "23"), (123,)]}) == 5


def test_generators_of_equal_paths_agree():
    assert torch.equal(
        torch.randperm(50, generator=generator((1, "x"))), torch.randperm(50, generator=generator((1, "x")))
    )


def test_global_random_leaves_no_trace():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    with global_random(("dropout", 3)):
        first = torch.rand(3)
    assert torch.equal(before, torch.random.get_rng_state())
    with global_random(("dropout", 3)):
        assert torch.equal(first, torch.rand(3))
