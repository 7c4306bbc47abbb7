"""MaliGAN's estimators by hand, the mixed schedule, and the theorem on a language that can be enumerated."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from algorithms.maligan import MaliGAN
from algorithms.types import Alphabet, Rollouts, Sequences
from toys import NgramGenerator, TabularDiscriminator, all_sequences
from toys.coins import COINS, coin, rng

WORDS = Alphabet(size=3)


def maligan(**settings) -> MaliGAN:
    return MaliGAN(MaliGAN.Config(**settings))


def rolled(rows: list[list[int]], scores: Tensor, **more) -> Rollouts:
    tokens = torch.tensor(rows)
    Y = Sequences(tokens, COINS.lengths(tokens))
    return Rollouts(Y, torch.zeros(tokens.shape), scores[..., None], **more)


def whole(D: list[float]) -> Tensor:
    """The scores of whole sequences from their D: [B, 1, 1]."""
    return torch.tensor(D).logit()[:, None, None]


def loss(algorithm: MaliGAN, fake: Rollouts, G: NgramGenerator, real: Sequences | None = None) -> Tensor:
    D = TabularDiscriminator(G.alphabet, G.length)
    return algorithm.generator_loss(G, D, fake, real or fake.sequences, rng()).value


def test_weights_from_logits_are_the_normalised_ratios():
    D = torch.rand(6, generator=rng(), dtype=torch.float64) * 0.9 + 0.05
    fake = rolled([[0, 1]] * 6, D.logit()[:, None, None])
    ratios = D / (1 - D)
    assert_close(maligan().weights(fake).flatten(), 6 * ratios / ratios.sum(), atol=1e-6, rtol=0)
    pairs = ratios.view(3, 2)
    expected = 2 * pairs / pairs.sum(1, keepdim=True)
    assert_close(maligan(samples=2).weights(fake)[..., 0], expected, atol=1e-6, rtol=0)


def test_equation_2_by_hand():
    # r_D = 3, 1, 1/3: weights 27/13, 9/13, 3/13, of mean one; b = 1/2
    fake = rolled([[1, 1], [0, 1], [0, 0]], whole([0.75, 0.5, 0.25]), step=5)
    algorithm, G = maligan(baseline_steps=10), coin(0.8)
    assert_close(
        algorithm.credit(fake),
        torch.tensor([[27 / 13], [9 / 13], [3 / 13]]).expand(3, 2) - 0.5,
        atol=1e-6,
        rtol=0,
    )
    value = loss(algorithm, fake, G)
    first, second, third = 27 / 13 - 0.5, 9 / 13 - 0.5, 3 / 13 - 0.5
    likelihood = first * 2 * log(0.8) + second * (log(0.2) + log(0.8)) + third * 2 * log(0.2)
    assert_close(value, torch.tensor(-likelihood / 3), atol=1e-6, rtol=0)
    value.backward()
    # d log p(y) / d logit_1 = 1[y = 1] - 0.8
    slope = -(first * 2 * 0.2 + second * (-0.8 + 0.2) + third * 2 * -0.8) / 3
    assert_close(G.logits.grad, torch.tensor([[-slope, slope]]), atol=1e-6, rtol=0)


def test_the_token_form_by_hand():
    # r_D of two completions of the first token, and of the sequences: Q = (2, 3), (1/2, 1/2); their mean 3/2
    D = torch.tensor([[[0.5, 0.75], [0.75, 0.75]], [[1 / 3, 1 / 3], [1 / 3, 1 / 3]]])
    fake = rolled([[1, 1], [0, 1]], D.logit())
    credit = maligan(form="token", baseline_steps=1).credit(fake)  # b = 0
    assert_close(credit, torch.tensor([[2.0, 3.0], [0.5, 0.5]]) / 1.5, atol=1e-6, rtol=0)


def test_b_rises_to_one_and_stays():
    algorithm = maligan(baseline_steps=4)
    assert [algorithm.b(step) for step in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert maligan(baseline_steps=0).b(0) == 1.0
    fake = rolled([[1, 1], [0, 1]], whole([0.75, 0.5]), step=4)
    assert_close(algorithm.credit(fake).sum(), torch.zeros(()), atol=1e-6, rtol=0)


def test_the_prefix_shrinks_by_k_every_so_many_steps():
    algorithm = maligan(prefix=12, prefix_decrement=5, prefix_updates=3, samples=4)
    clamps = [algorithm.rollouts(step).clamp for step in range(12)]
    assert clamps == [7, 7, 7, 2, 2, 2, 0, 0, 0, 0, 0, 0]
    # the discriminator sees fakes that begin as the real ones do
    assert [algorithm.negatives(step).clamp for step in range(12)] == clamps
    assert algorithm.rollouts(0).samples == 4


def test_with_the_whole_sequence_given_it_is_maximum_likelihood_to_the_bit():
    real = Sequences(torch.tensor([[1, 0], [1, 1], [0, 1]]), torch.full((3,), 2))
    fake = rolled([[1, 0], [1, 1], [0, 1]], whole([0.9, 0.1, 0.2]), clamp=2)
    mixed, plain = coin(0.7), coin(0.7)
    loss(maligan(prefix=7, prefix_decrement=5), fake, mixed, real).backward()
    (-plain.log_prob(real.tokens).sum() / 3).backward()
    assert torch.equal(mixed.logits.grad, plain.logits.grad)


def test_without_a_prefix_the_mixed_form_is_the_sequence_form_with_groups_of_n():
    fake = rolled([[1, 0], [1, 1], [0, 1], [0, 0]], whole([0.9, 0.1, 0.2, 0.4]))
    mixed, plain = (loss(maligan(samples=2, **more), fake, coin(0.7)) for more in ({"prefix": 3}, {}))
    assert torch.equal(mixed, plain)


def test_a_prefix_never_gets_adversarial_gradient():
    """Equation 4: its first term does not reach the given tokens, its second term nothing else."""
    G = NgramGenerator(COINS, 2, n=2)  # the first token has a row of its own: that of the start symbol
    with torch.no_grad():
        G.logits.zero_()
    algorithm = maligan(samples=2, baseline_steps=1)
    real = Sequences(torch.tensor([[1, 1], [0, 1]]), torch.full((2,), 2))
    fakes = [[1, 1], [1, 0], [0, 1], [0, 0]]
    for scores in (whole([0.9, 0.1, 0.2, 0.4]), whole([0.5] * 4)):
        fake = rolled(fakes, scores, clamp=1)
        assert (algorithm.credit(fake)[:, 0] == 0).all()
    by_hand = -(2 * 0.9 / 0.1 / (9 + 1 / 9) + 2 * (1 / 9) / (9 + 1 / 9) + 2) * log(0.5) / 4 - 2 * log(0.5) / 2
    assert_close(
        loss(algorithm, rolled(fakes, whole([0.9, 0.1, 0.5, 0.5]), clamp=1), G, real), torch.tensor(by_hand)
    )


def test_logits_are_bounded_and_tempered():
    fake = rolled([[1, 1], [0, 1]], torch.tensor([8.0, -1.0])[:, None, None])
    bounded = maligan(logit_clip=2.0, temper=0.5).weights(fake).flatten()
    expected = 2 * torch.tensor([exp(1.0), exp(-0.5)]) / (exp(1.0) + exp(-0.5))
    assert_close(bounded, expected)


def test_sequences_that_end_within_the_prefix_have_no_part_in_it():
    alphabet = Alphabet(size=3, end=2)
    tokens = torch.tensor([[2, 0], [2, 0], [1, 1], [1, 2]])
    Y = Sequences(tokens, alphabet.lengths(tokens))
    scores = torch.linspace(-1, 1, 8).view(4, 2, 1, 1)
    fake = Rollouts(Y, torch.zeros(4, 2), scores, clamp=1)
    credit = maligan(form="token", samples=2, baseline_steps=1).credit(fake)
    assert credit.isfinite().all()
    assert (credit[:2] == 0).all()  # nothing was sampled in this group
    assert_close(credit[2:, 1].sum(), torch.tensor(2.0))


def test_what_is_told_of_the_schedule_and_the_weights():
    algorithm = maligan(prefix=6, prefix_decrement=5, samples=2, baseline_steps=10)
    fake = rolled([[1, 1], [1, 0]], whole([0.75, 0.5]), clamp=1, step=3)
    told = algorithm.generator_loss(
        coin(0.5), TabularDiscriminator(COINS, 2), fake, fake.sequences, rng()
    ).metrics
    assert told["adv/baseline"].item() == pytest.approx(0.3)
    assert told["adv/clamped_prefix"].item() == 1
    # weights 3/2 and 1/2: 4 / (9/4 + 1/4)
    assert told["adv/effective_sample_size"].item() == pytest.approx(1.6)


class Enumerable:
    """A language of nine sequences, a generator of it, and the discriminator that is the best against it."""

    def __init__(self, power: float = 1.0, spread: float = 1.0) -> None:
        self.data, self.G = (NgramGenerator(WORDS, 2, n=2, seed=seed).double() for seed in (3, 4))
        with torch.no_grad():
            for table in (self.data.logits, self.G.logits):
                table *= spread
        self.x = all_sequences(WORDS, 2)
        self.log_data = self.data.log_prob(self.x).sum(1).detach()
        self.log_G = self.G.log_prob(self.x).sum(1).detach()
        self.logit = power * (self.log_data - self.log_G)  # of D = p_d / (p_d + G), or on the way there

    def gradient(self, weights: Tensor) -> Tensor:
        """sum_x weights(x) grad log G(x): [entries of the table]."""
        self.G.zero_grad()
        (weights * self.G.log_prob(self.x).sum(1)).sum().backward()
        assert self.G.logits.grad is not None
        return self.G.logits.grad.flatten().clone()

    def estimate(self, m: int, seed: int, algorithm: MaliGAN, groups: int = 1) -> Tensor:
        """The mean over groups of the estimator's ascent direction, m sequences a group."""
        drawn = torch.multinomial(
            self.log_G.exp(), groups * m, replacement=True, generator=torch.Generator().manual_seed(seed)
        )
        tokens = self.x[drawn]
        fake = Rollouts(
            Sequences(tokens, WORDS.lengths(tokens)),
            torch.zeros(tokens.shape),
            self.logit[drawn][:, None, None, None],
        )
        self.G.zero_grad()
        D = TabularDiscriminator(WORDS, 2)
        (-algorithm.generator_loss(self.G, D, fake, fake.sequences, rng()).value).backward()
        assert self.G.logits.grad is not None
        return self.G.logits.grad.flatten().clone()


def test_with_the_best_discriminator_the_expected_update_is_that_of_maximum_likelihood():
    """Section 3.1: E_G[ r_D grad log G ] = E_data[ grad log G ]."""
    language = Enumerable()
    update = language.gradient((language.log_G + language.logit).exp())
    assert_close(update, language.gradient(language.log_data.exp()), atol=1e-6, rtol=0)


def test_the_bias_of_a_group_falls_with_its_size():
    """Self-normalised importance sampling is biased by O(1 / m), once m exceeds the weights' variance."""
    language = Enumerable(spread=0.3)
    target = language.gradient(language.log_data.exp())
    bias = {}
    for m, groups in ((4, 100_000), (16, 50_000), (64, 50_000), (256, 20_000)):
        found = language.estimate(m, m, maligan(samples=m, baseline_steps=1), groups)  # b = 0
        bias[m] = (found - target).norm().item()
    for few, many in ((4, 16), (16, 64), (64, 256)):
        assert -1.35 < log(bias[many] / bias[few]) / log(4) < -0.65, bias


@pytest.mark.parametrize("power", [0.25, 0.5, 0.75])
def test_before_the_discriminator_is_the_best_one_it_is_still_an_ascent(power: float):
    """Section 3.2: with a D between one half and the best one the likelihood of the data rises."""
    language = Enumerable(power)
    weights = (language.log_G + language.logit).exp()
    update = language.gradient(weights / weights.sum())
    assert (update * language.gradient(language.log_data.exp())).sum() > 0


def test_the_adversarial_stage_alone_halves_the_divergence():
    """From where it stands to the data, with the best discriminator at each step, by sampled groups."""
    language = Enumerable()
    algorithm = maligan(samples=64, baseline_steps=1)

    def divergence() -> float:
        language.log_G = language.G.log_prob(language.x).sum(1).detach()
        return (language.log_data.exp() * (language.log_data - language.log_G)).sum().item()

    start = divergence()
    for step in range(60):
        language.logit = language.log_data - language.log_G
        direction = language.estimate(64, step, algorithm)
        with torch.no_grad():
            language.G.logits += 0.5 * direction.view_as(language.G.logits)
        divergence()
    assert divergence() < start / 2
