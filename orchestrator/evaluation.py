"""How good a generator is: likelihoods both ways, diversity, and what the discriminator makes of it.

NLL_oracle falls when a generator merely gets colder, so it never stands alone here: NLL_test, the
oracle's own entropy, the unique rate and self-BLEU stand beside it (Caccia et al. 2020, "Language
GANs Falling Short"; definitions in orchestrator/README.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.bleu import self_bleu
from algorithms.models.base import Discriminator, Generator, OneShotGenerator
from algorithms.sampling import log_prob_of
from algorithms.types import RolloutSpec, Sequences, Source
from orchestrator.config import EvaluationConfig
from orchestrator.data import Dataset
from workers.philox import Path
from workers.pool import Pool, Request

SELF_BLEU_ORDERS = (2, 3, 4, 5)
_LOGITS_AT_ONCE = 2**24


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Numbers by metric name, what is not defined for this data or model, and the samples themselves."""

    metrics: dict[str, float]
    undefined: tuple[str, ...]
    samples: Sequences


@torch.inference_mode()
def evaluate(
    G: Generator,
    D: Discriminator | None,
    pool: Pool,
    data: Dataset,
    config: EvaluationConfig,
    path: Path,
    *,
    temperature: float = 1.0,
) -> Evaluation:
    """Measures the generator that the pool holds.

    Args:
        G: the same generator, for likelihoods.
        D: judged on held-out real sequences against the samples; None where none was trained.
        pool: draws the samples.
        path: address of the samples.
        temperature: of both the samples and the likelihood, so that they belong to one model.
    """
    G.eval()
    source = _sources(data.test, config.samples)
    fake = pool.collect(
        RolloutSpec(scores=("logit",) if D is not None else ()),
        Request(config.samples, source, temperature=temperature),
        path,
    ).to(torch.device("cpu"))
    samples = fake.sequences
    metrics = diversity(samples, data, config.diversity_samples)
    metrics["eval/entropy"] = -fake.log_prob[samples.mask].mean().item()
    undefined = []
    if data.oracle is not None:
        metrics["eval/nll_oracle"] = nll(data.oracle, samples)
    else:
        undefined.append("eval/nll_oracle")
    if isinstance(G, OneShotGenerator):
        undefined += ["eval/nll_test", "eval/perplexity"]
    else:
        metrics["eval/nll_test"] = nll(G, data.test, temperature)
        if data.oracle is None:  # it chooses the best checkpoint of text; NLL_oracle does where there is one
            metrics["eval/nll_validation"] = nll(G, data.validation, temperature)
        metrics["eval/perplexity"] = float(torch.tensor(metrics["eval/nll_test"]).exp())
    if D is not None:
        D.eval()
        parts = [part.to(device_of(D)) for part in pieces(data.test, 256)]
        real = torch.cat([D.logits(part.tokens, part.source) for part in parts])
        metrics["eval/d_accuracy_real"] = (real > 0).float().mean().item()
        metrics["eval/d_accuracy_fake"] = (fake.scores[:, 0, 0, 0] < 0).float().mean().item()
    return Evaluation(metrics, tuple(undefined), samples)


@torch.inference_mode()
def nll(G: Generator, sequences: Sequences, temperature: float = 1.0) -> float:
    """Negative log-likelihood of the sequences under G, nats per token that counts.

    Args:
        temperature: divides the logits, token by token; 1 is the model as trained.
    """
    total, count = 0.0, 0
    device = device_of(G)
    banned = torch.tensor(G.alphabet.banned, dtype=torch.int64, device=device)
    for part in pieces(sequences, max(1, _LOGITS_AT_ONCE // (G.alphabet.size * G.length))):
        part = part.to(device)
        # a token that G may never emit (a word unknown to its vocabulary) has no likelihood: it is left out
        counted = part.mask & ~torch.isin(part.tokens, banned)
        total -= _log_prob(G, part, temperature)[counted].double().sum().item()
        count += int(counted.sum())
    return total / max(1, count)


def floor(oracle: Generator, samples: Sequences) -> float:
    """The oracle's NLL on its own samples, its entropy per token: below it, a generator has collapsed."""
    return nll(oracle, samples)


def diversity(samples: Sequences, data: Dataset, most: int) -> dict[str, float]:
    """Unique rate, novelty (share of samples that are not in the training data), and self-BLEU-2..5.

    Args:
        most: how many samples enter self-BLEU, the first ones; its value depends on their number.
    """
    rows = [tuple(row) for row in samples.tokens.tolist()]
    known = {tuple(row) for row in data.train.tokens.tolist()}
    metrics = {
        "eval/unique_rate": len(set(rows)) / len(rows),
        "eval/novelty": sum(row not in known for row in rows) / len(rows),
        "eval/length_mean": samples.lengths.double().mean().item(),
    }
    some = samples.select(slice(0, most))
    for order in SELF_BLEU_ORDERS:
        metrics[f"eval/self_bleu_{order}"] = self_bleu(some, order, data.alphabet.end).mean().item()
    return metrics


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are; the CPU where it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


def pieces(sequences: Sequences, size: int) -> list[Sequences]:
    """The sequences in order, some at a time."""
    return [sequences.select(slice(start, start + size)) for start in range(0, len(sequences), size)]


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
