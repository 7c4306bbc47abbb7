"""The same bits for a sequence whatever the unit, the memory budget and the thread, with real networks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from algorithms.bleu import References
from algorithms.models.base import Generator
from algorithms.models.lstm import LSTMGenerator
from algorithms.models.text_cnn import TextCNN
from algorithms.types import Alphabet, Rollouts, RolloutSpec, Sequences, Source
from toys import ToyOneShot, ToyPrefixDiscriminator, ToySeq2Seq, ToyTransformer
from workers.generation import complete, sample
from workers.rollout import Block, Networks, rollout

T, COUNT = 9, 67  # one sequence more than a call has, and some more
UNITS = [1, 3, 8, 16, 64]


def alphabet(V: int, ends: bool) -> Alphabet:
    return Alphabet(size=V, start=0, end=1, pad=0, banned=(0,)) if ends else Alphabet(size=V)


def lstm(symbols: Alphabet, seed: int = 0, hidden: int = 32) -> LSTMGenerator:
    """Weights as wide as after training, and sequences of every length where they end."""
    torch.manual_seed(seed)
    G = LSTMGenerator.Config(embedding=hidden, hidden=hidden, init_std=0.6).build(symbols, T)
    if symbols.end is not None:
        with torch.no_grad():
            G.output_bias[symbols.end] += torch.tensor(0.15 * symbols.size).log()
    return G


def text_cnn(symbols: Alphabet, filters: tuple[tuple[int, int], ...]) -> TextCNN:
    torch.manual_seed(7)
    return TextCNN.Config(embedding=24, filters=filters).build(symbols, T)


WIDE, THIN = ((1, 40), (2, 40), (4, 30), (9, 25)), ((1, 4), (2, 5), (4, 9))


def networks(V: int, ends: bool, filters: tuple[tuple[int, int], ...] = WIDE, hidden: int = 32) -> Networks:
    symbols = alphabet(V, ends)
    G, policy = lstm(symbols, 0, hidden), lstm(symbols, 1, hidden)
    return Networks(G, policy, text_cnn(symbols, filters)).eval()


def tensors(parts: list[Rollouts]) -> list[torch.Tensor]:
    return [
        torch.cat([part.sequences.tokens for part in parts]),
        torch.cat([part.sequences.lengths for part in parts]),
        torch.cat([part.log_prob for part in parts]),
        torch.cat([part.scores for part in parts]),
    ]


def in_units(nets: Networks, spec: RolloutSpec, unit: int, count: int = COUNT, **options) -> list[Rollouts]:
    """The rollouts of all sequences, unit by unit; conditions and real sequences are cut with them."""
    whole = {name: options.pop(name, None) for name in ("source", "real")}
    parts = []
    for first in range(0, count, unit):
        rows = slice(first, min(first + unit, count))
        given = {name: None if one is None else one.select(rows) for name, one in whole.items()}
        block = Block(first, rows.stop - first, **given)
        parts.append(rollout(nets, spec, block, (3, "bits"), **options))
    return parts


def check(nets: Networks, spec: RolloutSpec, units: list[int] = UNITS, count: int = COUNT, **options):
    """Every cutting gives the bits of the whole, which come back."""
    whole = tensors(in_units(nets, spec, count, count, **options))
    for i, unit in enumerate(units):
        memory = [2**28, 1, 300_000][i % 3]
        cut = tensors(in_units(nets, spec, unit, count, memory=memory, **options))
        for name, got, wanted in zip(("tokens", "lengths", "log_prob", "scores"), cut, whole, strict=True):
            assert torch.equal(got, wanted), f"{name}, units of {unit}, {memory} bytes"
    return whole


@pytest.mark.parametrize("ends", [False, True], ids=["fixed length", "variable length"])
@pytest.mark.parametrize(
    ("V", "filters", "hidden"),
    [(200, WIDE, 32), (200, THIN, 32), (1301, WIDE, 32), (5, THIN, 8), (37, WIDE, 33)],
    ids=str,
)
def test_units_and_budgets(V, filters, hidden, ends):
    _, lengths, _, scores = check(networks(V, ends, filters, hidden), RolloutSpec(completions=3))
    assert len(lengths.unique()) >= 5 if ends else lengths.eq(T).all()
    assert scores.std(2).max() > 0.1  # completions differ, and so do their scores


@pytest.mark.parametrize("memory", [1, 50_000, 1_000_000, 2**28])
def test_budgets_alone(memory):
    nets, spec = networks(200, True), RolloutSpec(completions=4)
    for got, wanted in zip(
        tensors(in_units(nets, spec, 33, memory=memory)), tensors(in_units(nets, spec, 33)), strict=True
    ):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("clamp", [1, 4])
def test_with_a_real_prefix(clamp):
    nets = networks(200, True)
    (drawn,) = in_units(networks(200, True, hidden=20), RolloutSpec(), COUNT)
    spec = RolloutSpec(completions=3, clamp=clamp)
    tokens, *_ = check(nets, spec, [1, 8, 16], real=drawn.sequences)
    assert torch.equal(tokens[:, :clamp], drawn.sequences.tokens[:, :clamp])


@pytest.mark.parametrize("ends", [False, True], ids=["fixed length", "variable length"])
@pytest.mark.parametrize("V", [6, 200, 2000])
def test_sampling_only(V, ends):
    check(networks(V, ends), RolloutSpec(), [7, 64, 128], 200)


@pytest.mark.parametrize("temperature", [0.6, 1.5])
def test_tempered(temperature):
    check(networks(200, True), RolloutSpec(completions=2), [1, 8, 16], temperature=temperature)


def test_several_scores():
    (drawn,) = in_units(networks(30, True, hidden=20), RolloutSpec(), 40, 40)
    spec = RolloutSpec(completions=3, scores=("logit", "bleu_2", "bleu_4"))
    *_, scores = check(networks(30, True), spec, [3, 8, 64], references=References(drawn.sequences, end=1))
    assert (scores[..., 1:] > 0).any()


def some_sources(count: int) -> Source:
    rng = torch.Generator().manual_seed(4)
    return Source(
        torch.randint(5, (count, 3), generator=rng),
        torch.arange(3) < torch.randint(1, 4, (count, 1), generator=rng),
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda symbols: ToySeq2Seq(symbols, T, hidden=16),
        lambda symbols: ToyTransformer(symbols, T, source_symbols=5, hidden=16),
    ],
    ids=["recurrent", "attention"],
)
@pytest.mark.parametrize("ends", [False, True], ids=["fixed length", "variable length"])
def test_conditional_generators(build, ends):
    symbols = alphabet(40, ends)
    torch.manual_seed(2)
    G: Generator = build(symbols)
    D = ToyPrefixDiscriminator(symbols, hidden=16)
    check(Networks(G, G, D).eval(), RolloutSpec(completions=2), [3, 16], source=some_sources(COUNT))


@pytest.mark.parametrize("ends", [False, True], ids=["fixed length", "variable length"])
def test_attention_without_a_source(ends):
    symbols = alphabet(40, ends)
    torch.manual_seed(2)
    G = ToyTransformer(symbols, T, hidden=16)
    check(Networks(G, G, text_cnn(symbols, WIDE)).eval(), RolloutSpec(completions=2), [3, 16])


def test_one_shot_generators():
    symbols = alphabet(40, True)
    torch.manual_seed(2)
    G = ToyOneShot(symbols, T, latent=5, hidden=16)
    check(Networks(G, G, text_cnn(symbols, WIDE)).eval(), RolloutSpec())


def test_threads_side_by_side():
    nets, spec = networks(200, True), RolloutSpec(completions=4)
    whole = tensors([rollout(nets, spec, Block(0, COUNT), (3,))])
    with ThreadPoolExecutor(3, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        tasks = [
            threads.submit(rollout, nets, spec, Block(first, min(5, COUNT - first)), (3,))
            for first in range(0, COUNT, 5)
        ]
        cut = tensors([task.result() for task in tasks])
    for got, wanted in zip(cut, whole, strict=True):
        assert torch.equal(got, wanted)


def test_a_sequence_of_one_token_has_nothing_to_complete():
    symbols = alphabet(50, True)
    G = LSTMGenerator.Config(embedding=8, hidden=8).build(symbols, 1)
    D = TextCNN.Config(embedding=8, filters=((1, 20),)).build(symbols, 1)
    nets = Networks(G, G, D).eval()
    result = rollout(nets, RolloutSpec(completions=3), Block(0, 5), (1,))
    wanted = D.logits(result.sequences.tokens).detach()[:, None, None, None].expand(5, 1, 3, 1)
    torch.testing.assert_close(result.scores, wanted, rtol=0, atol=1e-5)


def test_a_block_may_be_cut_anywhere_in_the_batch():
    nets, spec = networks(200, False), RolloutSpec(completions=2)
    tokens, _, log_prob, scores = tensors(in_units(nets, spec, COUNT))
    for first, count in [(0, 1), (66, 1), (1, 30), (13, 54)]:
        part = rollout(nets, spec, Block(first, count), (3, "bits"))
        rows = slice(first, first + count)
        assert torch.equal(part.sequences.tokens, tokens[rows])
        assert torch.equal(part.log_prob, log_prob[rows])
        assert torch.equal(part.scores, scores[rows])


@pytest.mark.parametrize("kind", ["recurrent", "attention"])
@torch.no_grad()
def test_more_prefixes_than_one_call_reads(kind):
    symbols = alphabet(40, True)
    torch.manual_seed(2)
    G = lstm(symbols) if kind == "recurrent" else ToyTransformer(symbols, T, hidden=16)
    numbers = torch.arange(150)
    Y, _ = sample(G, numbers, (4,))
    tokens, b, t, n = complete(G, Y, numbers, 2, (4,))
    for rows in (slice(0, 100), slice(100, 150)):
        part, at, length, number = complete(G, Y.select(rows), numbers[rows], 2, (4,))
        here = (b >= rows.start) & (b < rows.stop)
        assert torch.equal(part, tokens[here])
        assert torch.equal(torch.stack([at + rows.start, length, number]), torch.stack([b, t, n])[:, here])


def test_a_real_sequence_that_ends_inside_the_prefix():
    nets = networks(200, True)
    tokens = torch.full((COUNT, T), 0)
    tokens[:, 0], tokens[::2, 1], tokens[1::2, 1:] = 5, 1, 7
    real = Sequences(tokens, nets.generator.alphabet.lengths(tokens))
    got, lengths, *_ = check(nets, RolloutSpec(completions=3, clamp=3), [1, 16], real=real)
    assert torch.equal(got[::2], tokens[::2])
    assert (lengths[1::2] > 3).all()
