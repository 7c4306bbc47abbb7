"""Adversarial dialogue's equations against numbers worked out by hand: T = 2, groups of 2."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from algorithms.adversarial_dialogue import AdversarialDialogue
from algorithms.models.base import Discriminator
from algorithms.models.hierarchical import CriticConfig
from algorithms.types import Alphabet, Rollouts, RolloutSpec, Sequences, Source
from toys import NgramGenerator, TabularDiscriminator
from toys.cases import dialogues
from toys.coins import COINS, coin, rng

VARIABLE = Alphabet(size=5, start=0, end=1, pad=2, banned=(0, 2))
SMALL = CriticConfig(embedding=3, hidden=4, init_range=1.0)


def algorithm(**settings: Any) -> AdversarialDialogue:
    settings = {"baseline": "none", "critic": SMALL, **settings}
    built = AdversarialDialogue(AdversarialDialogue.Config(**settings))
    built.prepare(COINS, 2)
    return built


def rows(tokens: list[list[int]], alphabet: Alphabet = COINS, source: Source | None = None) -> Sequences:
    made = torch.tensor(tokens)
    return Sequences(made, alphabet.lengths(made), source)


def completed() -> Rollouts:
    """D of the completions of the first token: (0.5, 0.7) and (0.1, 0.3); of the replies: 0.4 and 0.9."""
    D = torch.tensor([[[0.5, 0.7], [0.4, 0.4]], [[0.1, 0.3], [0.9, 0.9]]])  # [B, T, N]
    return Rollouts(rows([[1, 1], [0, 1]]), torch.zeros(2, 2), D.logit()[..., None])


def whole() -> Rollouts:
    D = torch.tensor([0.4, 0.9]).view(2, 1, 1, 1)
    return Rollouts(rows([[1, 1], [0, 1]]), torch.zeros(2, 2), D.logit())


def test_a_reward_for_every_token_is_the_mean_of_its_completions() -> None:
    assert_close(algorithm().credit(completed()), torch.tensor([[0.6, 0.4], [0.2, 0.9]]))


def test_one_reward_for_the_whole_reply() -> None:
    got = algorithm(reward="sequence").credit(whole())
    assert_close(got, torch.tensor([[0.4, 0.4], [0.9, 0.9]]))


def test_a_prefix_is_rewarded_as_it_stands() -> None:
    D = torch.tensor([[0.6, 0.4], [0.2, 0.9]])
    fake = Rollouts(rows([[1, 1], [0, 1]]), torch.zeros(2, 2), D.logit()[..., None, None])
    assert_close(algorithm(reward="prefix").credit(fake), D)


@pytest.mark.parametrize(
    ("reward", "spec"),
    [
        ("sequence", RolloutSpec()),
        ("monte_carlo", RolloutSpec(completions=5)),
        ("prefix", RolloutSpec(prefixes=True)),
    ],
)
def test_what_each_reward_asks_of_the_workers(reward: str, spec: RolloutSpec) -> None:
    assert algorithm(reward=reward).rollouts(3) == spec


def test_means_as_baselines() -> None:
    # rewards .6 .4 of the first reply, .2 .9 of the second: the mean of the other is .55 and .5
    batch = algorithm(baseline="batch_mean").credit(completed())
    assert_close(batch, torch.tensor([[0.05, -0.15], [-0.3, 0.4]]))
    both = algorithm(baseline="group_mean", samples=2).credit(completed())
    assert_close(both, batch)


def test_a_group_of_one_has_no_mean_of_others() -> None:
    with pytest.raises(ValueError, match=r"set algorithm\.samples=2 or more"):
        algorithm(baseline="group_mean", samples=1)


def test_padding_earns_nothing_and_counts_in_no_mean() -> None:
    D = torch.tensor([[0.2, 0.9], [0.6, 0.4]])
    Y = rows([[1, 2], [3, 4]], VARIABLE)  # the first reply has one token, its end
    fake = Rollouts(Y, torch.zeros(2, 2), D.logit()[..., None, None])
    got = algorithm(reward="prefix", baseline="batch_mean").credit(fake)
    assert_close(got, torch.tensor([[-0.3, 0.0], [0.4, 0.2]]))  # the other's means: (.6 + .4) / 2, and .2


def test_no_chance_is_in_the_critics_values() -> None:
    config = AdversarialDialogue.Config.model_validate({"critic": {"hidden": 4, "embedding": 3}})
    made = algorithm(baseline="critic", critic=config.critic)
    assert made.training
    assert torch.equal(made.credit(completed()), made.credit(completed()))


def test_equations_2_and_3() -> None:
    G, D = coin(0.25), TabularDiscriminator(COINS, 2)  # of 1
    real = rows([[0, 0]])
    # row 1 draws 1 twice, row 2 draws 0 and 1: a sum over tokens, a mean over replies, times the weight
    wanted = -0.5 * ((0.6 + 0.4) * log(0.25) + 0.2 * log(0.75) + 0.9 * log(0.25)) / 2
    assert_close(algorithm().generator_loss(G, D, completed(), real, rng()).value.item(), wanted)
    wanted = -2 * (0.8 * log(0.25) + 0.9 * (log(0.75) + log(0.25))) / 2
    loss = algorithm(reward="sequence", policy_weight=2).generator_loss(G, D, whole(), real, rng())
    assert_close(loss.value.item(), wanted)


def test_teacher_forcing_is_the_likelihood_of_human_replies_times_its_weight() -> None:
    G, real = coin(0.25), rows([[1, 1], [0, 1]])
    told = algorithm(teacher_forcing=0.5).teacher_forcing(G, real, rng())
    assert told is not None
    assert_close(told.value.item(), -0.5 * (3 * log(0.25) + log(0.75)) / 2)
    assert algorithm(teacher_forcing=0).teacher_forcing(G, real, rng()) is None


class Positions(Discriminator):
    """The logit of a prefix is its length; what was asked for is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        raise AssertionError("a whole reply was judged")

    def prefix_logits(self, tokens: Tensor, source: Source | None = None) -> Tensor:
        return torch.arange(1.0, tokens.shape[1] + 1).expand(tokens.shape) + self.bias


def test_the_discriminator_learns_from_exactly_one_prefix_of_each_reply() -> None:
    T, n = 6, 4000
    lengths = 1 + torch.arange(n) % T
    tokens = torch.full((n, T), 3)
    tokens[torch.arange(n), lengths - 1] = 1
    tokens = tokens.masked_fill(torch.arange(T) >= lengths[:, None], 2)
    real, fake = Sequences(tokens, lengths), Sequences(tokens, lengths)
    D = Positions()
    loss = algorithm(reward="prefix").discriminator_loss(NgramGenerator(VARIABLE, T), D, fake, real, rng())
    # D judges prefixes of length k by a logit of k: uniform lengths up to each reply's own
    chance = [sum(1 / L for L in range(k, T + 1)) / T for k in range(1, T + 1)]
    softplus = torch.nn.functional.softplus
    k = torch.arange(1.0, T + 1)
    expected = 0.5 * (torch.tensor(chance) * (softplus(-k) + softplus(k))).sum()
    assert abs(loss.value - expected) < 0.05
    # a loss that saw several prefixes of a reply would have less spread over seeds
    once = [
        algorithm(reward="prefix")
        .discriminator_loss(
            NgramGenerator(VARIABLE, T), D, fake.select(slice(5, 6)), real.select(slice(5, 6)), r
        )
        .value.item()
        for r in (torch.Generator().manual_seed(seed) for seed in range(200))
    ]
    one = {round(float(0.5 * (softplus(-a) + softplus(b))), 4) for a in k for b in k}
    assert {round(value, 4) for value in once} <= one  # one of the human's, one of the machine's
    assert len(set(once)) > 25


def test_whole_replies_are_judged_where_the_reward_is_no_prefixs() -> None:
    G, D = coin(0.5), TabularDiscriminator(COINS, 2)
    real, fake = rows([[1, 1]]), rows([[0, 1]])
    loss = algorithm().discriminator_loss(G, D, fake, real, rng()).value
    softplus = torch.nn.functional.softplus
    wanted = 0.5 * (softplus(-D.logits(real.tokens)) + softplus(D.logits(fake.tokens)))
    assert_close(loss, wanted.squeeze())


def critic(**settings: Any) -> tuple[AdversarialDialogue, Rollouts]:
    torch.manual_seed(4)
    built = algorithm(baseline="critic", **settings)
    built.prepare(VARIABLE, 3)
    Y = rows([[3, 4, 1], [4, 1, 2], [3, 3, 3]], VARIABLE, dialogues(3))
    D = torch.tensor([[0.2, 0.4, 0.6], [0.3, 0.5, 0.5], [0.9, 0.1, 0.2]])
    return built, Rollouts(Y, torch.zeros(3, 3), D.logit()[..., None, None])


def test_the_critic_is_regressed_on_what_each_token_earned() -> None:
    built, fake = critic(reward="prefix")
    assert built.critic is not None
    b = built.critic.before_tokens(fake.sequences.tokens, fake.sequences.source).sigmoid()
    Q = fake.scores[:, :, 0, 0].sigmoid()
    error = (b - Q).square()
    counted = [error[0, 0], error[0, 1], error[0, 2], error[1, 0], error[1, 1], *error[2]]  # 8, no padding
    own = built.own_loss(fake, rng())
    assert own is not None
    assert_close(own.value, torch.stack(counted).mean())
    own.value.backward()
    assert all(parameter.grad is not None for parameter in built.critic.parameters())
    assert_close(built.credit(fake)[0], (Q - b)[0].detach())
    assert algorithm().own_loss(fake, rng()) is None
    assert algorithm().own_optimizer() is None


def test_the_critic_sees_the_history_and_earlier_tokens_alone() -> None:
    built, fake = critic(reward="prefix")
    assert built.critic is not None
    Y = fake.sequences
    before = built.critic.before_tokens(Y.tokens, Y.source)
    other = Y.tokens.clone()
    other[:, 1] = 7 - other[:, 1].clamp(3, 4)
    changed = built.critic.before_tokens(other, Y.source)
    assert_close(changed[:, :2], before[:, :2])
    assert (changed[:, 2] != before[:, 2]).all()
    moved = built.critic.before_tokens(Y.tokens, dialogues(4).select(slice(1, 4)))
    assert ((moved - before).abs() > 1e-6).all()


def test_for_one_reward_the_critic_has_one_value() -> None:
    built, fake = critic(reward="sequence")
    whole = Rollouts(fake.sequences, fake.log_prob, fake.scores[:, -1:])
    b = built.baseline(whole)
    assert (b == b[:, :1]).all()
    assert (b[0] != b[1]).all()
    own = built.own_loss(whole, rng())
    assert own is not None
    assert_close(own.value, (b - fake.scores[:, -1:, 0, 0].sigmoid())[fake.sequences.mask].square().mean())
