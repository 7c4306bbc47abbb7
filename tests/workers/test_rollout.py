"""Monte Carlo credits against exact enumeration, attached to the right rows, whatever the cutting."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from algorithms.models.hierarchical import Hierarchical
from algorithms.models.lstm import LSTMGenerator
from algorithms.models.seq2seq import Seq2Seq
from algorithms.types import Alphabet, Rollouts, RolloutSpec, Sequences, Source
from toys import (
    NgramGenerator,
    TabularDiscriminator,
    ToyOneShot,
    ToyPrefixDiscriminator,
    ToySeq2Seq,
    ToyTransformer,
    all_sequences,
)
from toys.cases import VARIABLE as CASES
from toys.cases import dialogues, make, texts
from workers import generation, scoring
from workers.generation import complete, sample
from workers.philox import normal
from workers.rollout import Block, Networks, rollout

FIXED = Alphabet(size=3)
VARIABLE = Alphabet(size=4, start=0, end=1, pad=0, banned=(0,))
T = 4


def enumerated_credit(G: NgramGenerator, D: TabularDiscriminator, prefix: torch.Tensor) -> float:
    """E[sigmoid D(Y) | the first len(prefix) tokens of Y] by summing over every sequence."""
    sequences = all_sequences(G.alphabet, T)
    weight = G.log_prob(sequences).sum(1).exp()
    begins = (sequences[:, : len(prefix)] == prefix).all(1)
    D_of_Y = D.logits(sequences).sigmoid()
    return float((weight * D_of_Y)[begins].sum() / weight[begins].sum())


@pytest.mark.parametrize("alphabet", [FIXED, VARIABLE], ids=["fixed length", "variable length"])
@torch.no_grad()
def test_credits_agree_with_exact_enumeration_for_every_token(alphabet):
    G, D = NgramGenerator(alphabet, T, seed=1), TabularDiscriminator(alphabet, T, seed=2)
    N, B = 4000, 6
    result = rollout(Networks(G, G, D), RolloutSpec(completions=N), Block(0, B), (7, "credits"))
    Y, D_of = result.sequences, result.scores[..., 0].sigmoid()  # [B, T, N]
    checked = 0
    for b in range(B):
        for t in range(1, int(Y.lengths[b]) + 1):
            exact = enumerated_credit(G, D, Y.tokens[b, :t]) if t < Y.lengths[b] else float(D_of[b, t - 1, 0])
            got, error = D_of[b, t - 1].mean(), D_of[b, t - 1].std() / N**0.5
            assert abs(got - exact) <= 4 * error + 1e-6, f"b = {b}, t = {t}: {got} against {exact}"
            checked += 1
    assert checked == int(Y.lengths.sum())
    if alphabet.end is not None:
        assert len(set(Y.lengths.tolist())) > 1


@torch.no_grad()
def test_the_last_token_earns_the_sequence_itself_and_padding_repeats_it():
    G, D = NgramGenerator(VARIABLE, T, seed=3), TabularDiscriminator(VARIABLE, T, seed=4)
    result = rollout(Networks(G, G, D), RolloutSpec(completions=3), Block(0, 40), (1,))
    whole = D.logits(result.sequences.tokens)
    for b, length in enumerate(result.sequences.lengths.tolist()):
        assert torch.equal(result.scores[b, length - 1 :, :, 0], whole[b].expand(T - length + 1, 3))
    assert result.sequences.lengths.min() < T


class RowDiscriminator(TabularDiscriminator):
    """Its logit is the first symbol of the sequence: a sentence's credits name the sentence."""

    def logits(self, tokens, source=None):
        return tokens[:, 0].float()


@torch.no_grad()
def test_no_credit_is_attached_to_another_row():
    alphabet = Alphabet(size=50)
    G, D = NgramGenerator(alphabet, 5, n=2), RowDiscriminator(alphabet, 1)
    tokens = torch.randint(50, (50, 5), generator=torch.Generator().manual_seed(0))
    tokens[:, 0] = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    real = Sequences(tokens, alphabet.lengths(tokens))
    spec = RolloutSpec(completions=3, clamp=1)
    result = rollout(Networks(G, G, D), spec, Block(0, 50, real=real), (1,), memory=20_000)
    assert torch.equal(result.scores[..., 0], tokens[:, :1, None].float().expand(50, 5, 3))


@pytest.mark.parametrize(
    "generator",
    [
        LSTMGenerator.Config(embedding=6, hidden=5, init_std=1.0).build(VARIABLE, 7),
        ToyTransformer(VARIABLE, 7),
        NgramGenerator(VARIABLE, 7),
    ],
    ids=lambda G: type(G).__name__,
)
@torch.no_grad()
def test_a_completion_keeps_its_prefix_and_is_padded_after_its_end(generator):
    Y, _ = sample(generator, torch.arange(30), (3,))
    done, b, t, n = complete(generator, Y, torch.arange(30), 2, (3,))
    unfinished = [(i, p, k) for p in range(1, 7) for i in range(30) if Y.lengths[i] > p for k in range(2)]
    assert list(zip(b.tolist(), t.tolist(), n.tolist(), strict=True)) == unfinished
    kept = torch.arange(7) < t[:, None]
    assert torch.equal(done[kept], Y.tokens[b][kept])
    after_end = torch.arange(7) >= VARIABLE.lengths(done)[:, None]
    assert (done[after_end] == VARIABLE.pad).all()
    assert (done[~after_end] != VARIABLE.pad).all()


def networks() -> Networks:
    G = LSTMGenerator.Config(embedding=6, hidden=5, init_std=1.0).build(VARIABLE, 6)
    return Networks(G, G, TabularDiscriminator(VARIABLE, 6)).eval()


def joined(parts: list[Rollouts]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.cat([part.sequences.tokens for part in parts]),
        torch.cat([part.log_prob for part in parts]),
        torch.cat([part.scores for part in parts]),
    )


@pytest.mark.parametrize("unit", [1, 5, 24])
@pytest.mark.parametrize("memory", [1, 10_000, 2**28])
def test_credits_do_not_depend_on_units_or_chunks(unit, memory):
    nets, spec, path = networks(), RolloutSpec(completions=4), (11, "x")
    whole = joined([rollout(nets, spec, Block(0, 24), path)])
    cut = [
        rollout(nets, spec, Block(first, min(unit, 24 - first)), path, memory=memory)
        for first in range(0, 24, unit)
    ]
    for got, wanted in zip(joined(cut), whole, strict=True):
        assert torch.equal(got, wanted)


def test_credits_do_not_depend_on_how_many_rows_a_call_has(monkeypatch):
    nets, spec = networks(), RolloutSpec(completions=4)
    whole = joined([rollout(nets, spec, Block(0, 16), (2,))])
    monkeypatch.setattr(generation, "sampled", lambda V, device: 5)
    monkeypatch.setattr(generation, "completed", lambda device: 3)
    monkeypatch.setattr(scoring, "scored", lambda device: 7)
    monkeypatch.setattr(scoring, "read_at_once", lambda device: 2)
    pieces = joined([rollout(nets, spec, Block(0, 16), (2,))])
    assert torch.equal(whole[0], pieces[0])
    torch.testing.assert_close(whole[1], pieces[1], rtol=0, atol=1e-6)
    assert torch.equal(whole[2], pieces[2])


def test_completions_come_from_the_policy_and_samples_from_the_generator():
    G, other = NgramGenerator(FIXED, T, seed=1), NgramGenerator(FIXED, T, seed=9)
    D = TabularDiscriminator(FIXED, T, seed=2)
    same = rollout(Networks(G, G, D), RolloutSpec(completions=8), Block(0, 8), (5,))
    lagged = rollout(Networks(G, other, D), RolloutSpec(completions=8), Block(0, 8), (5,))
    assert torch.equal(same.sequences.tokens, lagged.sequences.tokens)
    assert not torch.equal(same.scores, lagged.scores)


def test_a_clamped_prefix_is_the_real_one():
    G = NgramGenerator(VARIABLE, T)
    tokens = torch.tensor([[2, 3, 1, 0], [2, 1, 0, 0], [3, 3, 3, 3]])
    real = Sequences(tokens, VARIABLE.lengths(tokens))
    Y, log_prob = sample(G, torch.arange(3), (1,), real=real, clamp=2)
    assert torch.equal(Y.tokens[:, :2], tokens[:, :2])
    assert Y.tokens[1].tolist() == [2, 1, 0, 0]  # the real sequence ended inside the prefix
    torch.testing.assert_close(log_prob, G.log_prob(Y.tokens), rtol=0, atol=1e-5)


def test_a_temperature_tempers_the_samples_and_their_likelihood():
    G = NgramGenerator(FIXED, T)
    cold, log_prob = sample(G, torch.arange(200), (1,), temperature=0.05)
    warm, _ = sample(G, torch.arange(200), (1,))
    assert len(cold.tokens.unique(dim=0)) < len(warm.tokens.unique(dim=0))
    assert log_prob.mean() > -0.3


def test_conditional_and_one_shot_generators_fit():
    source = Source(
        torch.tensor([[1, 2], [3, 2], [2, 2]]), torch.tensor([[True, True], [True, False], [True, True]])
    )
    seq2seq, D = ToySeq2Seq(VARIABLE, T), TabularDiscriminator(VARIABLE, T)
    result = rollout(Networks(seq2seq, seq2seq, D), RolloutSpec(completions=2), Block(0, 3, source), (1,))
    assert result.scores.shape == (3, T, 2, 1)
    torch.testing.assert_close(
        result.log_prob, seq2seq.log_prob(result.sequences.tokens, source).detach(), rtol=0, atol=1e-5
    )
    one_shot = ToyOneShot(VARIABLE, T)
    drawn = rollout(Networks(one_shot, one_shot, D), RolloutSpec(), Block(4, 3), (1,))
    z = normal((1, "latent"), torch.arange(4, 7), one_shot.latent)
    assert torch.equal(drawn.sequences.source.vector, z)
    torch.testing.assert_close(
        drawn.log_prob,
        one_shot.log_prob(drawn.sequences.tokens, Source(vector=z)).detach(),
        rtol=0,
        atol=1e-5,
    )


def test_samples_of_one_prompt_share_their_latent_in_whatever_unit_they_are():
    one_shot, D = ToyOneShot(VARIABLE, T), TabularDiscriminator(VARIABLE, T)
    spec = RolloutSpec(samples=3)
    drawn = [
        rollout(Networks(one_shot, one_shot, D), spec, Block(first, count), (1,)).sequences
        for first, count in ((0, 6), (4, 2))
    ]
    z = normal((1, "latent"), torch.arange(2), one_shot.latent)
    assert torch.equal(drawn[0].source.vector, z.repeat_interleave(3, 0))
    assert torch.equal(drawn[1].source.vector, drawn[0].source.vector[4:])
    assert torch.equal(drawn[1].tokens, drawn[0].tokens[4:])


def test_the_delayed_policy_draws_where_it_is_asked_to():
    networks_, spec = networks(), RolloutSpec(delayed=True)
    policy = NgramGenerator(VARIABLE, networks_.generator.length, seed=77)
    apart = Networks(networks_.generator, policy, networks_.discriminator)
    drawn = rollout(apart, spec, Block(0, 5), (1,))
    alone = rollout(Networks(policy, policy, networks_.discriminator), RolloutSpec(), Block(0, 5), (1,))
    assert torch.equal(drawn.sequences.tokens, alone.sequences.tokens)
    assert torch.equal(drawn.log_prob, alone.log_prob)


def test_samples_follow_the_generator():
    G = NgramGenerator(FIXED, 3, seed=5)
    Y, _ = sample(G, torch.arange(20_000), (1,))
    everything = all_sequences(FIXED, 3)
    p = G.log_prob(everything).sum(1).exp()
    seen = torch.stack([(Y.tokens == row).all(1).float().mean() for row in everything])
    assert ((seen - p).abs() <= 5 * (p * (1 - p) / 20_000).sqrt()).all()


def test_nothing_is_scored_where_nothing_is_asked():
    result = rollout(networks(), RolloutSpec(scores=()), Block(0, 3), (1,))
    assert result.scores.shape == (3, 1, 1, 0)


def test_units_go_to_the_device_and_are_not_copied_where_they_are():
    real = Sequences(torch.tensor([[2, 3]]), torch.tensor([2]), Source(torch.tensor([[1]])))
    block = Block(4, 1, Source(vector=torch.ones(1, 2)), real)
    here = block.to(torch.device("cpu"))
    assert (here.first, here.count) == (4, 1)
    assert here.source.vector is block.source.vector
    assert here.real.tokens is real.tokens
    elsewhere = block.to(torch.device("meta"))
    assert elsewhere.source.vector.device.type == "meta"
    assert elsewhere.real.tokens.device.type == elsewhere.real.source.tokens.device.type == "meta"
    assert Block(0, 3).to(torch.device("meta")) == Block(0, 3)


@pytest.mark.parametrize("alphabet", [FIXED, VARIABLE], ids=["fixed", "variable"])
@pytest.mark.parametrize("clamp", [0, 2])
def test_rows_that_stay_after_their_end_change_nothing(alphabet, clamp, monkeypatch):
    """A GPU is not asked which rows have ended; here the same code runs on the CPU."""
    G = NgramGenerator(alphabet, T, seed=1)
    nets, spec = (
        Networks(G, G, TabularDiscriminator(alphabet, T, seed=2)),
        RolloutSpec(completions=4, clamp=clamp),
    )
    real = sample(G, torch.arange(100, 116), (4,))[0]
    compact = rollout(nets, spec, Block(0, 16, real=real), (3,))
    monkeypatch.setattr(generation, "_looks", lambda *_: False)
    staying = rollout(nets, spec, Block(0, 16, real=real), (3,))
    for got, wanted in zip(joined([staying]), joined([compact]), strict=True):
        assert torch.equal(got, wanted)
    assert torch.equal(staying.sequences.lengths, compact.sequences.lengths)


def test_without_tokens_the_latents_are_those_of_the_sequences():
    G = ToyOneShot(FIXED, T)
    nets = Networks(G, G, TabularDiscriminator(FIXED, T))
    drawn = rollout(nets, RolloutSpec(), Block(2, 5), (1,))
    bare = rollout(nets, RolloutSpec(scores=(), drawn=False), Block(2, 5), (1,))
    assert torch.equal(bare.sequences.source.vector, drawn.sequences.source.vector)
    assert (bare.sequences.tokens == FIXED.pad).all()
    assert bare.scores.shape == (5, 1, 1, 0)
    shared = rollout(
        nets, RolloutSpec(scores=(), drawn=False, samples=5), Block(0, 10), (1,)
    ).sequences.source
    assert len(shared.vector.unique(dim=0)) == 2


@pytest.mark.parametrize("conditions", [texts, dialogues])
@torch.no_grad()
def test_credits_with_a_source_agree_with_exact_enumeration(conditions):
    G, every, _ = make("attention", CASES)
    torch.manual_seed(3)
    D, N, B = ToyPrefixDiscriminator(CASES).eval(), 4000, 6
    if conditions is dialogues:
        config = Hierarchical.Config(embedding=3, hidden=4, dropout=0.0, init_range=2.0)
        D = config.build(replace(CASES, source=5), 4).eval()
    source = conditions(B)
    result = rollout(Networks(G, G, D), RolloutSpec(completions=N), Block(0, B, source), (7, "credits"))
    Y, D_of = result.sequences, result.scores[..., 0].sigmoid()  # [B, T, N]
    for b in range(B):
        mine = source.select(torch.full((len(every),), b))
        weight, judged = G.log_prob(every, mine).sum(1).exp(), D.logits(every, mine).sigmoid()
        for t in range(1, int(Y.lengths[b]) + 1):
            begins = (every[:, :t] == Y.tokens[b, :t]).all(1)
            exact = (weight * judged)[begins].sum() / weight[begins].sum()
            got, error = D_of[b, t - 1].mean(), D_of[b, t - 1].std() / N**0.5
            assert abs(got - exact) <= 4 * error + 1e-5, f"b = {b}, t = {t}: {got} against {exact}"
    assert len(set(Y.lengths.tolist())) > 1


@pytest.mark.parametrize("unit", [1, 3, 12])
@torch.no_grad()
def test_prefixes_are_scored_as_they_stand(unit):
    G, _, _ = make("attention", CASES)
    torch.manual_seed(3)
    config = Hierarchical.Config(embedding=3, hidden=4, dropout=0.0, init_range=2.0)
    D, source = config.build(replace(CASES, source=5), 4).eval(), dialogues(12)
    parts = [
        rollout(
            Networks(G, G, D),
            RolloutSpec(prefixes=True),
            Block(first, unit, source.select(slice(first, first + unit))),
            (7, "prefixes"),
        )
        for first in range(0, 12, unit)
    ]
    scores = torch.cat([part.scores for part in parts])
    tokens = torch.cat([part.sequences.tokens for part in parts])
    assert scores.shape == (12, 4, 1, 1)
    torch.testing.assert_close(scores[:, :, 0, 0], D.prefix_logits(tokens, source))


def test_prefixes_have_a_logit_and_no_other_score():
    G, _, _ = make("attention", CASES)
    spec = RolloutSpec(prefixes=True, scores=("bleu_2",))
    with pytest.raises(ValueError, match="logit alone, not by bleu_2"):
        rollout(Networks(G, G, ToyPrefixDiscriminator(CASES)), spec, Block(0, 2, dialogues(2)), (1,))


class Counted(Seq2Seq):
    """Notes how many sources it encodes."""

    encoded = 0

    def start(self, rows, source=None):
        type(self).encoded += rows
        return super().start(rows, source)


@torch.no_grad()
def test_a_source_is_encoded_once_to_sample_and_once_to_complete(monkeypatch):
    G, _, _ = make("attention", CASES)
    G.__class__, Counted.encoded = Counted, 0
    monkeypatch.setattr(generation, "sampled", lambda symbols, device: 4)
    config = Hierarchical.Config(embedding=3, hidden=4)
    D = config.build(replace(CASES, source=5), 4).eval()
    rollout(Networks(G, G, D), RolloutSpec(completions=50), Block(0, 4, dialogues(4)), (1,))
    assert Counted.encoded == 4 + 4 + 1  # one row more tells what a state costs
