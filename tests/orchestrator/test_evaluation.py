"""Likelihoods and diversity, by hand and against enumeration."""

from __future__ import annotations

import pytest
import torch

from algorithms.types import Alphabet, Sequences
from orchestrator.config import EvaluationConfig
from orchestrator.data import Dataset, draw
from orchestrator.decoding import Decoding
from orchestrator.evaluation import Evaluation, evaluate, log_likelihood, nll
from orchestrator.metrics.protocol import Protocol
from orchestrator.metrics.suite import Suite
from toys import NgramGenerator, TabularDiscriminator, ToyOneShot, all_sequences
from workers.pool import InProcessPool

ALPHABET = Alphabet(size=4, start=0, end=1, pad=0, banned=(0,))
FIXED = Alphabet(size=3)


def dataset(G: NgramGenerator, oracle: bool = True) -> Dataset:
    parts = {name: draw(G, 50, (name,)) for name in ("train", "validation", "test")}
    return Dataset("toy", "0", "toy", G.alphabet, G.length, **parts, oracle=G if oracle else None)


def measured(G, D, p, data: Dataset, samples: int, temperature: float = 1.0) -> Evaluation:
    suite = Suite(data.spelling(), data.alphabet.end, train=data.train, test=data.test, protocol=Protocol())
    config = EvaluationConfig(samples=samples)
    return evaluate(G, D, p, data, config, ("e",), suite, decoding=Decoding(temperature))


def pool(G, D):
    return InProcessPool(G, D, threads=1, unit=4, sample_unit=64, memory=2**24)


def test_nll_by_hand():
    G = NgramGenerator(ALPHABET, 3, n=1)
    with torch.no_grad():
        G.logits[:] = torch.tensor([[0.0, 0.5, 0.25, 0.25]]).log()
    tokens = torch.tensor([[2, 1, 0], [3, 3, 2]])  # "2 end" and an unfinished one of three
    expected = (torch.tensor([4.0, 2.0]).log().sum() + 3 * torch.tensor(4.0).log()) / 5
    assert nll(G, Sequences(tokens, ALPHABET.lengths(tokens))) == pytest.approx(float(expected), abs=1e-6)


def test_perplexity_per_sentence_by_hand():
    G = NgramGenerator(ALPHABET, 3, n=1)
    with torch.no_grad():
        G.logits[:] = torch.tensor([[0.0, 0.5, 0.25, 0.25]]).log()
    tokens = torch.tensor([[2, 1, 0], [3, 3, 2]])  # geometric means: sqrt(4 * 2), and 4
    likely = log_likelihood(G, Sequences(tokens, ALPHABET.lengths(tokens)))
    assert likely.of_each().neg().exp().tolist() == pytest.approx([8**0.5, 4.0], abs=1e-5)
    data = dataset(G)
    with pool(G, TabularDiscriminator(ALPHABET, 3)) as p:
        found = measured(G, None, p, data, 20).metrics
    each = log_likelihood(G, data.test).of_each().neg().exp()
    assert found["eval/perplexity_per_sentence"] == pytest.approx(each.mean().item())
    assert found["eval/perplexity_per_sentence"] != pytest.approx(found["eval/perplexity"])


def test_tokens_that_cannot_be_emitted_are_left_out():
    alphabet = Alphabet(size=4, start=0, end=1, pad=0, banned=(0, 2))
    G = NgramGenerator(alphabet, 3, n=1)
    tokens, without = torch.tensor([[3, 2, 1]]), torch.tensor([[3, 1, 0]])
    assert nll(G, Sequences(tokens, alphabet.lengths(tokens))) == pytest.approx(
        nll(G, Sequences(without, alphabet.lengths(without))), abs=1e-6
    )


def test_the_oracles_own_nll_is_its_entropy():
    G = NgramGenerator(FIXED, 4, seed=2)
    everything = all_sequences(FIXED, 4)
    log_p = G.log_prob(everything).sum(1)
    entropy = -(log_p.exp() * log_p).sum().item() / 4
    sample = draw(G, 20_000, ("own",))
    error = G.log_prob(sample.tokens).sum(1).std().item() / 4 / 20_000**0.5
    assert abs(nll(G, sample) - entropy) < 5 * error


def test_a_temperature_divides_the_logits():
    G = NgramGenerator(ALPHABET, 4, seed=1)
    hot = NgramGenerator(ALPHABET, 4, seed=1)
    with torch.no_grad():
        hot.logits /= 0.5
    sample = draw(G, 30, ("t",))
    assert nll(G, sample, 0.5) == pytest.approx(nll(hot, sample), abs=1e-5)


def test_samples_and_likelihood_have_the_same_temperature():
    G = NgramGenerator(FIXED, 4, seed=1)
    with pool(G, TabularDiscriminator(FIXED, 4)) as p:
        warm, cold = (measured(G, None, p, dataset(G), 400, t).metrics for t in (1.0, 0.3))
    assert cold["eval/entropy"] < warm["eval/entropy"]
    assert cold["eval/nll_oracle"] < warm["eval/nll_oracle"]
    assert cold["eval/nll_test"] > warm["eval/nll_test"]


def test_the_discriminator_is_judged_on_held_out_and_generated_sequences():
    G, D = NgramGenerator(FIXED, 4), TabularDiscriminator(FIXED, 4)
    data = dataset(G)
    with torch.no_grad():
        D.table.fill_(1.0)  # "everything is real"
    with pool(G, D) as p:
        metrics = measured(G, D, p, data, 40).metrics
    assert metrics["eval/d_accuracy_real"] == 1.0
    assert metrics["eval/d_accuracy_fake"] == 0.0
    assert metrics["eval/d_auc"] == 0.5


def test_whether_what_is_rewarded_is_what_the_oracle_finds_likely():
    G, oracle, D = (
        NgramGenerator(FIXED, 4, seed=1),
        NgramGenerator(FIXED, 4, seed=2),
        TabularDiscriminator(FIXED, 4),
    )
    everything = all_sequences(FIXED, 4)
    data = dataset(oracle)

    def agreement() -> tuple[float, float]:
        with pool(G, D) as p:
            found = measured(G, D, p, data, 60).metrics
        return found["eval/d_rank_oracle"], found["eval/g_rank_oracle"]

    with torch.no_grad():
        places = D.length - 1 - torch.arange(D.length)
        spelled = (everything * FIXED.size**places).sum(1)
        for sign in (1.0, -1.0):
            D.table[spelled] = sign * oracle.log_prob(everything).sum(1)
            assert agreement()[0] == pytest.approx(sign)
        G.load_state_dict(oracle.state_dict())
        assert agreement()[1] == pytest.approx(1.0)
        D.table.fill_(1.0)
    with pool(G, D) as p:
        constant = measured(G, D, p, data, 60)
    assert "eval/d_rank_oracle" in constant.undefined
    assert "eval/d_rank_oracle" not in constant.metrics


def test_what_is_not_defined_is_said_not_numbered():
    G = NgramGenerator(FIXED, 4)
    with pool(G, TabularDiscriminator(FIXED, 4)) as p:
        text = measured(G, None, p, dataset(G, oracle=False), 20)
    assert "eval/nll_oracle" in text.undefined
    assert "eval/nll_oracle" not in text.metrics
    one_shot = ToyOneShot(FIXED, 4)
    with pool(one_shot, TabularDiscriminator(FIXED, 4)) as p:
        result = measured(one_shot, None, p, dataset(G), 20)
    assert {"eval/nll_test", "eval/perplexity"} <= set(result.undefined)
    assert "eval/nll_test" not in result.metrics


def test_a_network_that_was_left_in_training_mode_is_measured_as_it_would_be_used():
    # trap: dropout while likelihoods and scores are taken
    class Restless(NgramGenerator):
        def log_prob(self, tokens, source=None):
            assert not self.training
            return super().log_prob(tokens, source)

    class Doubtful(TabularDiscriminator):
        def logits(self, tokens, source=None):
            assert not self.training
            return super().logits(tokens, source)

    G, D = Restless(FIXED, 4, seed=1), Doubtful(FIXED, 4)
    with pool(G, D) as p:
        G.train()
        D.train()
        found = [measured(G, D, p, dataset(NgramGenerator(FIXED, 4)), 40).metrics for _ in range(2)]
    assert found[0] == found[1]
