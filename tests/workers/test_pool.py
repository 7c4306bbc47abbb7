"""Cutting, side by side, merging: the same result as one call."""

from __future__ import annotations

import pytest
import torch

from algorithms.types import Alphabet, RolloutSpec, Sequences, Source
from toys import NgramGenerator, TabularDiscriminator, ToySeq2Seq
from workers.pool import InProcessPool, Request, blocks, merge
from workers.rollout import Block, Networks, rollout

ALPHABET = Alphabet(size=4, start=0, end=1, pad=0, banned=(0,))
G, D = NgramGenerator(ALPHABET, 5), TabularDiscriminator(ALPHABET, 5)


def pool(threads: int = 2, unit: int = 3) -> InProcessPool:
    return InProcessPool(G, D, threads=threads, unit=unit, sample_unit=4, memory=2**24)


def test_blocks_cover_the_request_in_order():
    source = Source(vector=torch.arange(7.0)[:, None])
    pieces = blocks(Request(7, source), 1, 3)
    assert [(piece.first, piece.count) for piece in pieces] == [(0, 3), (3, 3), (6, 1)]
    assert torch.cat([piece.source.vector for piece in pieces]).flatten().tolist() == list(range(7))


def test_several_samples_of_one_prompt_stand_together():
    tokens = torch.arange(6).view(3, 2)
    pieces = blocks(Request(3, real=Sequences(tokens, torch.tensor([2, 2, 2]))), 2, 4)
    assert [(piece.first, piece.count) for piece in pieces] == [(0, 4), (4, 2)]
    assert torch.cat([piece.real.tokens for piece in pieces])[:, 0].tolist() == [0, 0, 2, 2, 4, 4]


@pytest.mark.parametrize(("threads", "unit"), [(1, 1), (2, 3), (2, 100), (3, 2)])
def test_the_result_is_that_of_one_unit(threads, unit):
    spec, path = RolloutSpec(completions=3), (1, "y")
    alone = rollout(Networks(G, G, D).eval(), spec, Block(0, 11), path)
    with pool(threads, unit) as several:
        together = several.collect(spec, Request(11), path)
    assert torch.equal(alone.sequences.tokens, together.sequences.tokens)
    assert torch.equal(alone.scores, together.scores)


def test_the_order_of_units_is_that_of_their_sequences():
    parts = [rollout(Networks(G, G, D), RolloutSpec(), Block(first, 4), (1,)) for first in (0, 4, 8)]
    merged = merge(parts)
    assert torch.equal(
        merged.sequences.tokens,
        rollout(Networks(G, G, D), RolloutSpec(), Block(0, 12), (1,)).sequences.tokens,
    )


def test_published_networks_are_copies():
    other = NgramGenerator(ALPHABET, 5, seed=8)
    with pool() as p:
        before = p.collect(RolloutSpec(), Request(20), (1,)).sequences.tokens
        p.publish(other, D, None)
        after = p.collect(RolloutSpec(), Request(20), (1,)).sequences.tokens
        with torch.no_grad():
            other.logits.zero_()
        assert torch.equal(after, p.collect(RolloutSpec(), Request(20), (1,)).sequences.tokens)
    assert not torch.equal(before, after)


def test_the_callers_thread_count_is_left_alone():
    before = torch.get_num_threads()
    with pool(threads=2) as p:
        p.collect(RolloutSpec(completions=2), Request(8), (1,))
        assert torch.get_num_threads() == before


def test_an_error_in_a_unit_reaches_the_caller():
    with pool() as p, pytest.raises(ValueError, match="no score"):
        p.collect(RolloutSpec(scores=("no_such_score",)), Request(3), (1,))


def test_the_report_counts_versions_units_and_lag():
    with pool() as p:
        p.publish(G, D, None)
        p.publish(G, D, NgramGenerator(ALPHABET, 5, seed=8))
        p.collect(RolloutSpec(completions=2), Request(7), (1,))
        told = p.report()
        assert told["rollout/units_total"] == 3
        assert told["weights/generator_version"] == told["weights/discriminator_version"] == 1
        assert told["weights/rollout_policy_version"] == 2
        assert told["staleness/generator_max"] == told["staleness/discriminator_mean"] == 0
        assert told["fault/workers_alive"] == told["fault/workers_total"] == 2
        assert told["time/rollout_compute"] > 0
        p.publish(G, D, None)
        again = p.report()
    assert again["weights/rollout_policy_version"] == 3
    assert again["weights/published_bytes"] == G.logits.numel() * 4
    assert "perf/units_per_s" not in again


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_conditions_on_the_cpu_serve_networks_on_a_gpu():
    G, D = ToySeq2Seq(ALPHABET, 5).cuda(), TabularDiscriminator(ALPHABET, 5).cuda()
    source = Source(torch.tensor([[1, 2], [2, 3]]), torch.tensor([[True, False], [True, True]]))
    with InProcessPool(G, D, threads=2, unit=1, sample_unit=1, memory=2**24) as p:
        p.publish(G, D, None)
        made = p.collect(RolloutSpec(), Request(2, source), (1,))
    assert made.sequences.tokens.device.type == "cuda"


def test_threads_are_one_class():
    with pool() as p:
        p.greet()
        assert p.exact
        assert len(p.classes) == 1
        assert p.classes[0].endswith("float32, 1 thread")


def test_a_lagging_policy_completes():
    policy = NgramGenerator(ALPHABET, 5, seed=8)
    spec = RolloutSpec(completions=3)
    alone = rollout(Networks(G, policy, D).eval(), spec, Block(0, 6), (1,))
    with pool() as p:
        p.publish(G, D, policy)
        assert torch.equal(alone.scores, p.collect(spec, Request(6), (1,)).scores)
