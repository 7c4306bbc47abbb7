"""How good a generator is: likelihoods both ways, diversity, and what the discriminator makes of it.

NLL_oracle falls when a generator merely gets colder, so it never stands alone here: NLL_test, the
oracle's own entropy, the unique rate and self-BLEU stand beside it (Caccia et al. 2020, "Language
GANs Falling Short"). What is said of the samples alone is in ``orchestrator.metrics``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.models.base import Discriminator, Generator, OneShotGenerator
from algorithms.sampling import log_prob_of
from algorithms.types import Rollouts, Sequences, Source
from orchestrator.batches import batches, device_of
from orchestrator.config import EvaluationConfig
from orchestrator.data import Dataset
from orchestrator.decoding import Decoding
from orchestrator.metrics.suite import Suite
from orchestrator.ranking import area_under_curve, rank_correlation
from workers.philox import Path
from workers.pool import Pool

_LOGITS_AT_ONCE = 2**24


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Numbers by metric name, what is not defined for this data or model, and the samples themselves."""

    metrics: dict[str, float]
    undefined: tuple[str, ...]
    signatures: dict[str, str]
    samples: Sequences


@torch.inference_mode()
def evaluate(
    G: Generator,
    D: Discriminator | None,
    pool: Pool,
    data: Dataset,
    config: EvaluationConfig,
    path: Path,
    suite: Suite,
    *,
    decoding: Decoding,
    thorough: bool = False,
    has_logit: bool = True,
) -> Evaluation:
    """Measures the generator that the pool holds.

    Args:
        G: the same generator, for likelihoods.
        D: judged on held-out real sequences against the samples; None where none was trained.
        pool: draws the samples.
        path: address of the samples.
        suite: measures the samples beside the data.
        thorough: whether by all that it has.
        has_logit: whether D's value is a logit, so that its sign says something.
        decoding: how samples are made; its temperature is also that of likelihoods, so that both belong to
            one model.
    """
    G.eval()
    source = _sources(data.test, config.samples)
    fake = decoding.rollouts(pool, G, D, source, config.samples, path)
    samples, temperature = fake.sequences, decoding.temperature
    scores = suite.quick(samples) | suite.thorough(samples) if thorough else suite.quick(samples)
    metrics, undefined = dict(scores.metrics), list(scores.undefined)
    metrics["eval/entropy"] = -fake.log_prob[samples.mask].mean().item()
    if data.oracle is not None:
        likely = log_likelihood(data.oracle, samples)
        metrics["eval/nll_oracle"] = likely.per_token()
        agreement = _agreement(likely.of_each(), fake, judged=D is not None)
        undefined += [name for name, value in agreement.items() if math.isnan(value)]
        metrics |= {name: value for name, value in agreement.items() if name not in undefined}
    else:
        undefined.append("eval/nll_oracle")
    if isinstance(G, OneShotGenerator):
        undefined += ["eval/nll_test", "eval/perplexity", "eval/perplexity_per_sentence"]
    else:
        held_out = log_likelihood(G, data.test, temperature)
        metrics["eval/nll_test"] = held_out.per_token()
        if data.oracle is None:  # it chooses the best checkpoint of text; NLL_oracle does where there is one
            metrics["eval/nll_validation"] = nll(G, data.validation, temperature)
        metrics["eval/perplexity"] = float(torch.tensor(metrics["eval/nll_test"]).exp())
        metrics["eval/perplexity_per_sentence"] = held_out.of_each().neg().exp().mean().item()
    if D is not None:
        D.eval()
        parts = [part.to(device_of(D)) for part in batches(data.test, 256)]
        real = torch.cat([D.logits(part.tokens, part.source) for part in parts])
        logits = fake.scores[:, 0, 0, 0]
        if has_logit:
            metrics["eval/d_accuracy_real"] = (real > 0).float().mean().item()
            metrics["eval/d_accuracy_fake"] = (logits < 0).float().mean().item()
        metrics["eval/d_auc"] = area_under_curve(real.cpu(), logits)
    return Evaluation(metrics, tuple(undefined), scores.signatures, samples)


@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """What a generator says of n sequences.

    Attributes:
        sums: [n] float64, log-likelihood over the tokens that count, nats.
        counts: [n] int64, of these tokens.
    """

    sums: Tensor
    counts: Tensor

    def per_token(self) -> float:
        """The negative mean over all tokens, in nats."""
        return -self.sums.sum().item() / max(1, int(self.counts.sum()))

    def of_each(self) -> Tensor:
        """The mean over each sequence's tokens: [n] nats."""
        return self.sums / self.counts.clamp_min(1)


@torch.inference_mode()
def log_likelihood(G: Generator, sequences: Sequences, temperature: float = 1.0) -> LogLikelihood:
    """The log-likelihood of the sequences under G.

    Args:
        temperature: divides the logits, token by token; 1 is the model as trained.
    """
    sums, counts = [], []
    device = device_of(G)
    for part in batches(sequences, max(1, _LOGITS_AT_ONCE // (G.alphabet.size * G.length))):
        part = part.to(device)
        # a token that G may never emit (a word unknown to its vocabulary) has no likelihood: it is left out
        counted = G.alphabet.emitted(part.tokens)
        sums.append(_log_prob(G, part, temperature).masked_fill(~counted, 0.0).double().sum(1).cpu())
        counts.append(counted.sum(1).cpu())
    return LogLikelihood(torch.cat(sums), torch.cat(counts))


def nll(G: Generator, sequences: Sequences, temperature: float = 1.0) -> float:
    """Negative log-likelihood of the sequences under G, nats per token that counts; as above."""
    return log_likelihood(G, sequences, temperature).per_token()


def _agreement(likely: Tensor, fake: Rollouts, *, judged: bool) -> dict[str, float]:
    """Whether what a reward follows has to do with the oracle: rank correlations over the samples.

    A constant reward makes probable what the generator finds probable already, so its own likelihood stands
    beside the discriminator's logit.

    Args:
        likely: [n] log-likelihood under the oracle.
    """
    own = fake.log_prob.sum(1) / fake.sequences.lengths
    agreement = {"eval/g_rank_oracle": rank_correlation(own, likely)}
    if judged:
        agreement["eval/d_rank_oracle"] = rank_correlation(fake.scores[:, 0, 0, 0], likely)
    return agreement


def floor(oracle: Generator, samples: Sequences) -> float:
    """The oracle's NLL on its own samples, its entropy per token: below it, a generator has collapsed."""
    return nll(oracle, samples)


def _log_prob(G: Generator, part: Sequences, temperature: float) -> Tensor:
    if temperature == 1.0:
        return G.log_prob(part.tokens, part.source)
    state = G.start(len(part), part.source)
    fed = torch.full_like(part.tokens[:, 0], G.alphabet.start)
    columns = []
    for t in range(part.tokens.shape[1]):
        logits, state = G.step(state, fed)
        fed = part.tokens[:, t]
        columns.append(log_prob_of(logits / temperature, fed))
    return torch.stack(columns, 1).masked_fill(~part.mask, 0.0)  # [B, T]


def _sources(held_out: Sequences, count: int) -> Source | None:
    """Conditions for so many samples, held-out ones in turn."""
    if held_out.source is None:
        return None
    return held_out.source.select(torch.arange(count) % len(held_out))
