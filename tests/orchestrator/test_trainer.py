"""The loop: its stages and counts, what moves in each, and golden numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from algorithms.types import Alphabet, Loss, RolloutSpec, Sequences, Source
from orchestrator.data import draw
from orchestrator.recipe import load
from orchestrator.state import TrainState
from orchestrator.trainer import Trainer
from toys import NgramGenerator, ToySeq2Seq
from toys.cases import dialogues
from workers.pool import InProcessPool, Request

ALPHABET = Alphabet(size=6, start=0, end=1, pad=0, banned=(0,))
SMALL = """
    generator.embedding=4 generator.hidden=4 discriminator.filters=[[1,3],[2,3]]
    discriminator.embedding=4 pretrain.generator_epochs=2 pretrain.discriminator_rounds=1
    pretrain.discriminator_epochs=2 steps=2 algorithm.g_steps=2 algorithm.d_steps=2
    algorithm.d_epochs=3 algorithm.completions=2 batch_size=8
""".split()


class Counting(InProcessPool):
    """Remembers what it was asked for."""

    def collect(self, spec, request, path):
        self.asked.append((spec, request.count, path))
        return super().collect(spec, request, path)


def trained(*more: str, n: int = 20, **options) -> tuple[Trainer, list, list]:
    config = load("seqgan", [*SMALL, *more])
    state = TrainState.fresh(config, ALPHABET, 5)
    real = draw(NgramGenerator(ALPHABET, 5, seed=3), n, ("real",))
    with Counting(
        state.generator, state.discriminator, threads=1, unit=3, sample_unit=8, memory=2**24
    ) as pool:
        pool.asked = []
        trainer = Trainer(config, state, pool, real, **options)
        return trainer, list(trainer), pool.asked


def test_stages_follow_one_another_on_one_counter():
    _, progress, _ = trained()
    assert [(p.step, p.stage, p.done, p.total) for p in progress] == [
        (1, "pretrain_generator", 1, 2),
        (2, "pretrain_generator", 2, 2),
        (3, "pretrain_discriminator", 1, 1),
        (4, "adversarial", 1, 2),
        (5, "adversarial", 2, 2),
    ]


def test_negatives_are_fresh_and_as_many_as_the_positives():
    _, _, asked = trained()
    negatives = [(count, path) for spec, count, path in asked if not spec.scores]
    assert len(negatives) == 1 + 2 * 2  # one round of pretraining, then d_steps in each step
    assert {count for count, _ in negatives} == {20}
    assert len({path for _, path in negatives}) == len(negatives)
    scored = [count for spec, count, _ in asked if spec == RolloutSpec(completions=2)]
    assert scored == [8] * 4  # g_steps in each step


def test_a_phase_of_the_discriminator_may_see_a_part():
    trainer, _, asked = trained("algorithm.d_sequences=8")
    counts = [count for spec, count, _ in asked if not spec.scores]
    assert counts == [20] + [8] * 4  # pretraining sees all
    few = trainer._draw_real((1, "positives"), 8).tokens
    assert not few.equal(trainer._draw_real((2, "positives"), 8).tokens)
    rows = [tuple(row) for row in trainer.train.tokens.tolist()]
    assert all(tuple(row) in rows for row in few.tolist())
    _, more, asked = trained("algorithm.d_sequences=500")
    assert {count for spec, count, _ in asked if not spec.scores} == {20}  # there are no more
    assert more[-1].metrics["d/accuracy_real"] <= 1


def test_each_stage_moves_its_own_network():
    config = load("seqgan", SMALL)
    state = TrainState.fresh(config, ALPHABET, 5)
    real = draw(NgramGenerator(ALPHABET, 5, seed=3), 20, ("real",))

    def weights(net: torch.nn.Module) -> torch.Tensor:
        return torch.cat([p.detach().flatten().clone() for p in net.parameters()])

    with InProcessPool(
        state.generator, state.discriminator, threads=1, unit=3, sample_unit=8, memory=2**24
    ) as pool:
        trainer = Trainer(config, state, pool, real)
        before_G, before_D = weights(state.generator), weights(state.discriminator)
        for progress in trainer:
            after_G, after_D = weights(state.generator), weights(state.discriminator)
            assert (not torch.equal(before_G, after_G)) == (progress.stage != "pretrain_discriminator")
            assert (not torch.equal(before_D, after_D)) == (progress.stage != "pretrain_generator")
            before_G, before_D = after_G, after_D


def test_rounded_products_move_the_discriminator_alike_and_its_state_stays_float32():
    def flat(net: torch.nn.Module) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    states = {name: trained("steps=1", learning=name)[0].state for name in ("fp32", "bf16")}
    exact, near = (flat(state.discriminator) for state in states.values())
    moved = exact - flat(TrainState.fresh(load("seqgan", SMALL), ALPHABET, 5).discriminator)
    assert 0 < (near - exact).norm() < 0.2 * moved.norm()
    moments = states["bf16"].optimizers["discriminator"].state.values()
    assert {one[name].dtype for one in moments for name in ("exp_avg", "exp_avg_sq")} == {torch.float32}
    assert near.dtype == torch.float32


def test_the_gradient_is_clipped_and_its_norm_reported():
    trainer, progress, _ = trained("algorithm.max_grad_norm=1e-6", "algorithm.generator_lr=1e-2")
    assert progress[-1].metrics["g/grad_norm"] > 1e-6  # before clipping
    assert trainer.state.optimizers["generator"].state  # and Adam has seen the clipped one
    exp_avg_sq = next(iter(trainer.state.optimizers["generator"].state.values()))["exp_avg_sq"]
    assert exp_avg_sq.max() <= 1e-12


@pytest.mark.parametrize("n", [1, 3, 8, 9])
def test_small_and_odd_data_are_used_to_the_last_sequence(n: int):
    _, progress, _ = trained(n=n)
    assert len(progress) == 5
    assert all(torch.tensor(value).isfinite() for p in progress for value in p.metrics.values())


def test_without_shuffling_every_epoch_has_the_same_minibatches():
    def batches(*more: str) -> list[list[torch.Tensor]]:
        config = load("seqgan", [*SMALL, *more])
        state = TrainState.fresh(config, ALPHABET, 5)
        real = draw(NgramGenerator(ALPHABET, 5, seed=3), 20, ("real",))
        seen: list[torch.Tensor] = []
        plain = state.algorithm.pretrain_loss

        def watched(G, batch: Sequences, epoch: int, rng) -> Loss:
            seen.append(batch.tokens)
            return plain(G, batch, epoch, rng)

        state.algorithm.pretrain_loss = watched
        with InProcessPool(
            state.generator, state.discriminator, threads=1, unit=3, sample_unit=8, memory=2**24
        ) as pool:
            trainer = Trainer(config, state, pool, real)
            trainer.advance()
            trainer.advance()
        return [seen[:3], seen[3:]]

    first, second = batches("pretrain.shuffle=false")
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    first, second = batches()
    assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.cat(first).unique(dim=0), torch.cat(second).unique(dim=0))


def test_the_rollout_policy_starts_at_the_pretrained_generator_and_lags_by_its_delay():
    pretrained, _, _ = trained("algorithm.policy_delay=0.75", "steps=0")
    trainer, _, _ = trained("algorithm.policy_delay=0.75", "steps=1")
    state = trainer.state
    assert state.policy is not None
    for lagging, first, now in zip(
        state.policy.parameters(),
        pretrained.state.generator.parameters(),
        state.generator.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(lagging, 0.75 * first + 0.25 * now)


def test_the_pool_draws_from_the_generator_as_it_is():
    config = load("seqgan", [*SMALL, "steps=1"])
    state = TrainState.fresh(config, ALPHABET, 5)
    real = draw(NgramGenerator(ALPHABET, 5, seed=3), 20, ("real",))
    with InProcessPool(
        state.generator, state.discriminator, threads=1, unit=3, sample_unit=8, memory=2**24
    ) as pool:
        list(Trainer(config, state, pool, real))
        drawn = pool.collect(RolloutSpec(), Request(30), (1,))
    expected = state.generator.log_prob(drawn.sequences.tokens).detach()
    torch.testing.assert_close(drawn.log_prob, expected, rtol=0, atol=1e-5)


def test_each_stage_of_the_generator_has_its_own_rate():
    config = load("seqgan", [*SMALL, "pretrain.generator_lr_decay=1", "algorithm.generator_lr_decay=1"])
    state = TrainState.fresh(config, ALPHABET, 5)
    real = draw(NgramGenerator(ALPHABET, 5, seed=3), 8, ("real",))
    with InProcessPool(
        state.generator, state.discriminator, threads=1, unit=3, sample_unit=8, memory=2**24
    ) as pool:
        rates = [
            tuple(state.optimizers[name].param_groups[0]["lr"] for name in ("pretrain", "generator"))
            for _ in Trainer(config, state, pool, real)
        ]
    pretrain, generator = zip(*rates, strict=True)
    assert pretrain == pytest.approx((0.01, 0.005, 0.005, 0.005, 0.005))  # 2 epochs, a round, 2 steps
    assert generator == pytest.approx((0.01, 0.01, 0.01, 0.01, 0.005))


RELAXED = """
    algorithm.d_steps=3 algorithm.d_batch=4 algorithm.d_sequences=4 steps=2 batch_size=8
    pretrain.discriminator_rounds=0 generator.dim=4 generator.blocks=1 generator.latent=2
    discriminator.dim=4 discriminator.blocks=1
""".split()


def relaxed(recipe: str, *more: str) -> tuple[Trainer, list, list, list[str]]:
    """The trainer, its progress, what the pool was asked for, and whose updates came when."""
    config = load(recipe, [*RELAXED, *more])
    state = TrainState.fresh(config, Alphabet(size=6), 5)
    tokens = torch.randint(6, (20, 5), generator=torch.Generator().manual_seed(0))
    real, order = Sequences(tokens, torch.full((20,), 5)), []
    with Counting(
        state.generator, state.discriminator, threads=1, unit=3, sample_unit=8, memory=2**24
    ) as pool:
        pool.asked = []
        trainer = Trainer(config, state, pool, real)
        descend = trainer.descend
        trainer.descend = lambda name, *rest: (order.append(name), descend(name, *rest))
        return trainer, list(trainer), pool.asked, order


def test_a_critic_goes_first_and_nothing_is_drawn():
    _, progress, asked, order = relaxed("wgan_gp_quick")
    assert order == [*["discriminator"] * 3, "generator"] * 2
    assert [count for _, count, _ in asked] == [4, 4, 4, 8] * 2
    assert not any(spec.drawn or spec.scores for spec, _, _ in asked)
    assert {"d/wasserstein", "d/interpolate_grad_norm"} <= set(progress[-1].metrics)
    assert not any(name.startswith(("reward/", "g/entropy")) for name in progress[-1].metrics)


def test_a_critics_weights_are_clipped_after_every_update():
    trainer, _, _, _ = relaxed("wgan_char", "algorithm.clip=0.02", "algorithm.discriminator_lr=0.1")
    assert max(p.abs().max().item() for p in trainer.state.discriminator.parameters()) <= 0.02
    free, _, _, _ = relaxed("wgan_gp_quick", "algorithm.discriminator_lr=0.1")
    assert max(p.abs().max().item() for p in free.state.discriminator.parameters()) > 0.02


DIALOGUE = """
    algorithm.name=adversarial_dialogue algorithm.reward=prefix algorithm.critic.embedding=4
    algorithm.critic.hidden=4 algorithm.d_epochs=1 discriminator.name=hierarchical discriminator.embedding=4
    discriminator.hidden=4 generator.name=seq2seq generator.embedding=4 generator.hidden=4
    data.builtin=conditional_oracle pretrain.generator_epochs=1 pretrain.discriminator_rounds=1 batch_size=8
    steps=2 controls=none
""".split()


def replying(*more: str) -> tuple[TrainState, list, list]:
    config = load("seqgan", [*DIALOGUE, *more])
    state, alphabet = TrainState.fresh(config, ALPHABET, 5), ALPHABET
    source = dialogues(20)
    oracle = ToySeq2Seq(alphabet, 5)
    texts = Source(source.tokens[:, 1], source.mask[:, 1])
    real = replace(draw(oracle, 20, ("real",), texts), source=source)
    with Counting(
        state.generator, state.discriminator, threads=1, unit=3, sample_unit=8, memory=2**24
    ) as pool:
        pool.asked = []
        return state, list(Trainer(config, state, pool, real)), pool.asked


def test_teacher_forcing_and_the_critic_follow_each_policy_gradient():
    state, progress, asked = replying()
    told = [p.metrics for p in progress if p.stage == "adversarial"]
    for metrics in told:
        assert metrics["loss/teacher_forcing"] > 0
        assert metrics["loss/critic"] >= 0
        assert metrics["adv/critic_grad_norm"] > 0
        assert 0 < metrics["adv/baseline"] < 1
    assert [spec.prefixes for spec, *_ in asked if spec.scores] == [True, True]
    assert state.optimizers["algorithm"].state
    before = [p.clone() for p in replying("steps=0")[0].algorithm.critic.parameters()]
    assert all((a != b).any() for a, b in zip(state.algorithm.critic.parameters(), before, strict=True))


def test_without_teacher_forcing_there_is_one_update():
    _, progress, _ = replying("algorithm.teacher_forcing=0", "algorithm.baseline=batch_mean")
    told = [name for p in progress for name in p.metrics]
    assert "loss/generator" in told
    assert not {"loss/teacher_forcing", "loss/critic"} & set(told)


def test_pretraining_of_the_discriminator_may_see_a_part():
    _, _, asked = trained("pretrain.discriminator_sequences=8", "pretrain.discriminator_rounds=2", "steps=0")
    negatives = [(count, path) for spec, count, path in asked if not spec.scores]
    assert [count for count, _ in negatives] == [8, 8]
    assert negatives[0][1] != negatives[1][1]


class Found:
    """Puts one and the same sequence in the place of every other one."""

    def __init__(self) -> None:
        self.calls = 0

    def some(self, G, drawn):
        self.calls += 1
        tokens = drawn.tokens.clone()
        tokens[::2] = 1
        return replace(drawn, tokens=tokens, lengths=ALPHABET.lengths(tokens))


def test_negatives_that_are_searched_for_are_for_pretraining_alone():
    found = Found()
    with_them, _, _ = trained("pretrain.discriminator_rounds=3", searched=lambda: found)
    assert found.calls == 3
    without, _, _ = trained("pretrain.discriminator_rounds=3")
    assert with_them.state.parameters_sha256() != without.state.parameters_sha256()
    trained("pretrain.discriminator_rounds=0", searched=lambda: pytest.fail("it reads a backward run"))
