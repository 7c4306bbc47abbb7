"""What a control does to the scores, and that it does nothing else."""

from __future__ import annotations

import torch

from algorithms.types import Alphabet, RolloutSpec
from orchestrator.config import CONTROLS
from orchestrator.controls import TRAINED_CONTROLS, AlteredPool, constant, shuffled
from toys import NgramGenerator, TabularDiscriminator
from workers.pool import InProcessPool, Request

ALPHABET = Alphabet(size=4)


def both(alter):
    G, D = NgramGenerator(ALPHABET, 4), TabularDiscriminator(ALPHABET, 4)
    with InProcessPool(G, D, threads=1, unit=4, sample_unit=8, memory=2**24) as pool:
        spec, request, path = RolloutSpec(completions=3), Request(12), (1, "c")
        return pool.collect(spec, request, path), AlteredPool(pool, alter).collect(spec, request, path)


def test_every_control_but_the_colder_start_is_trained():
    assert set(TRAINED_CONTROLS) == set(CONTROLS) - {"colder_start"}


def test_a_constant_reward_is_one_half_everywhere():
    plain, altered = both(constant)
    assert torch.equal(plain.sequences.tokens, altered.sequences.tokens)
    assert torch.equal(altered.scores.sigmoid(), torch.full_like(plain.scores, 0.5))


def test_a_constant_reward_is_not_worked_out_first():
    class Unscored(InProcessPool):
        def collect(self, spec, request, path):
            assert not spec.scores
            assert not spec.completions
            return super().collect(spec, request, path)

    change = TRAINED_CONTROLS["constant_reward"]
    G, D = NgramGenerator(ALPHABET, 4), TabularDiscriminator(ALPHABET, 4)
    with Unscored(G, D, threads=1, unit=4, sample_unit=8, memory=2**24) as pool:
        altered = AlteredPool(pool, change.alter, scored=change.scored)
        result = altered.collect(
            RolloutSpec(completions=3, scores=("logit", "bleu_2")), Request(12), (1, "c")
        )
        whole = altered.collect(RolloutSpec(), Request(5), (1, "c"))
    assert result.scores.shape == (12, 4, 3, 2)
    assert result.scores[..., 0].eq(0).all()
    assert result.scores[..., 1].eq(0.5).all()
    assert whole.scores.shape == (5, 1, 1, 1)
    plain, _ = both(constant)
    assert torch.equal(result.sequences.tokens, plain.sequences.tokens)


def test_shuffled_rewards_are_the_same_rewards_of_other_sentences():
    plain, altered = both(shuffled)
    assert torch.equal(plain.sequences.tokens, altered.sequences.tokens)
    assert not torch.equal(plain.scores, altered.scores)
    rows = {tuple(row.flatten().tolist()) for row in plain.scores}
    assert rows == {tuple(row.flatten().tolist()) for row in altered.scores}


def test_negatives_are_left_alone():
    G, D = NgramGenerator(ALPHABET, 4), TabularDiscriminator(ALPHABET, 4)
    with InProcessPool(G, D, threads=1, unit=4, sample_unit=8, memory=2**24) as pool:
        result = AlteredPool(pool, constant).collect(RolloutSpec(scores=()), Request(5), (1,))
    assert result.scores.shape[-1] == 0
