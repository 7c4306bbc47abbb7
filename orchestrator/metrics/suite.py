"""The metrics of samples beside real sequences, each with the signature of how it was computed.

What training data are there for: novelty, the forward language model, and as the "model" that nothing
should be able to beat (``real``). The real sequences that samples are held against are never among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch

from algorithms.bleu import References, self_bleus, sentence_bleus
from algorithms.types import Sequences
from orchestrator.metrics import copies
from orchestrator.metrics.divergence import js_divergence
from orchestrator.metrics.features import FEATURES, Features
from orchestrator.metrics.frechet import frechet_distance
from orchestrator.metrics.kneser_ney import ORDER, KneserNey
from orchestrator.metrics.mauve import MAUVE_SIGNATURE, mauve
from orchestrator.metrics.protocol import Protocol

T = TypeVar("T")

BLEU_ORDERS = (2, 3, 4, 5)
JS_ORDERS = (1, 2, 3, 4)
DISTINCT_ORDERS = (1, 2)


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured.

    Attributes:
        metrics: by metric name.
        undefined: names of what these data do not define.
        signatures: by metric name, or by what several names begin with.
    """

    metrics: dict[str, float]
    undefined: tuple[str, ...]
    signatures: dict[str, str]

    def __or__(self, other: Scores) -> Scores:
        return Scores(
            self.metrics | other.metrics,
            (*self.undefined, *other.undefined),
            self.signatures | other.signatures,
        )


class Suite:
    """What is known of the data, worked out once, and the metrics of any samples beside it.

    Args:
        spelling: V words; a token's number is its place in here.
        end: the alphabet's end symbol, which is no word.
        train: what a generator learned from; None where that is not known.
        test: real sequences that it has not seen; None where there are none.
        protocol: of BLEU and self-BLEU.
        vocabulary: V of the language models, which all unknown words share a place of; None: of ``spelling``.
        self_references: how many samples self-BLEU takes in; the protocol's, if that is fewer.
        with_mauve: whether MAUVE is measured, by the optional extra; it takes some seconds per sample set.
    """

    def __init__(
        self,
        spelling: Sequence[str],
        end: int | None,
        *,
        train: Sequences | None,
        test: Sequences | None,
        protocol: Protocol,
        vocabulary: int | None = None,
        self_references: int | None = None,
        with_mauve: bool = False,
    ) -> None:
        self._spelling, self._end, self._train, self._test = spelling, end, train, test
        self._protocol, self._with_mauve = protocol, with_mauve
        self._self_references = self_references
        self._vocabulary = vocabulary or len(spelling)

    def quick(self, samples: Sequences) -> Scores:
        """What takes tenths of a second: repeats, copies, distinct words, self-BLEU, the forward LM score."""
        found = _Found()
        found.add("eval/unique_rate", copies.unique_rate(samples), f"unique|samples:{len(samples)}")
        found.add("eval/length_mean", samples.lengths.double().mean().item())
        values = copies.distinct(samples, self._end, max(DISTINCT_ORDERS))
        for n in DISTINCT_ORDERS:
            found.add(f"eval/distinct_{n}", values[n - 1])
        found.sign("eval/distinct", f"distinct|samples:{len(samples)}|end:removed")
        self._self_bleu(samples, found)
        found.when(self._train, ["eval/novelty"], lambda train: [copies.novelty(samples, train)])
        found.when(self._language_model, ["eval/lm_score"], lambda lm: [lm.nll(samples)])
        if self._train is not None:
            found.sign("eval/novelty", f"novelty|whole-sequences|train:{len(self._train)}")
            found.sign("eval/lm_score", self._lm_signature("train", len(self._train)))
        return found.scores()

    def thorough(self, samples: Sequences) -> Scores:
        """What takes seconds: BLEU, divergences with their floor, the reverse LM, distances of features."""
        found, test = _Found(), self._test
        names = [f"eval/bleu_{n}" for n in BLEU_ORDERS]
        found.when(self._references, names, lambda real: self._bleu(samples, real))
        names = [f"eval/js_{n}" for n in JS_ORDERS]
        found.when(test, names, lambda real: _divergence(samples, real, self._end))
        found.when(
            test,
            ["eval/reverse_lm_score"],
            lambda real: [KneserNey(samples, self._vocabulary).nll(real)],
        )
        found.when(test, ["eval/frechet"], lambda real: [self._frechet(samples, real)])
        if self._with_mauve:
            found.when(test, ["eval/mauve"], lambda real: [self._mauve(samples, real)])
            found.sign("eval/mauve", f"{MAUVE_SIGNATURE}|samples:{_as_many(samples, test)}")
        floors = [f"eval/js_{n}_floor" for n in JS_ORDERS]
        found.when(
            test if self._train is not None else None, floors, lambda real: self._floors(samples, real)
        )
        if test is not None:
            found.sign("eval/bleu", self._bleu_signature(samples, len(test)))
            found.sign("eval/js", f"js|bits|samples:{_as_many(samples, test)}-each|end:removed")
            found.sign("eval/reverse_lm_score", self._lm_signature("samples", len(samples)))
            found.sign("eval/frechet", f"frechet|features:{FEATURES}|samples:{_as_many(samples, test)}-each")
        return found.scores()

    def real(self, count: int) -> dict[str, float]:
        """The metrics of real sequences in the place of samples, as many as there are, up to ``count``.

        They are training sequences, spread over all of them; where the training data themselves are the
        yardstick (novelty, the forward LM) the held-out ones are measured instead.
        """
        if self._train is None:
            return {}
        some = _spread(self._train, min(count, len(self._train)))
        metrics = (self.quick(some) | self.thorough(some)).metrics
        metrics = {name: value for name, value in metrics.items() if not name.endswith("_floor")}
        for name in ("eval/novelty", "eval/lm_score"):
            metrics.pop(name)
        if self._test is not None and self._language_model is not None:
            metrics["eval/novelty"] = copies.novelty(self._test, self._train)
            metrics["eval/lm_score"] = self._language_model.nll(self._test)
        return metrics

    @cached_property
    def _references(self) -> References | None:
        if self._test is None:
            return None
        some = self._test.select(slice(0, self._protocol.references))
        return References(some, self._end, max(BLEU_ORDERS))

    @cached_property
    def _language_model(self) -> KneserNey | None:
        return None if self._train is None else KneserNey(self._train, self._vocabulary)

    @cached_property
    def _features(self) -> Features:
        return Features(self._spelling, self._end)

    def _bleu(self, samples: Sequences, real: References) -> list[float]:
        some, protocol = samples.select(slice(0, self._protocol.hypotheses)), self._protocol
        values = sentence_bleus(
            some, real, max(BLEU_ORDERS), protocol.smoothing, single_order=protocol.single_order
        )
        return [values[n - 1].double().mean().item() for n in BLEU_ORDERS]

    def _self_bleu(self, samples: Sequences, found: _Found) -> None:
        names = [f"eval/self_bleu_{n}" for n in BLEU_ORDERS]
        if len(samples) < 2:
            found.when(None, names, lambda _: [])
            return
        some, protocol = samples.select(slice(0, self._self_references)), self._protocol
        values = self_bleus(
            some,
            max(BLEU_ORDERS),
            self._end,
            protocol.smoothing,
            first=protocol.hypotheses,
            references=protocol.references,
            single_order=protocol.single_order,
        )
        found.when(values, names, lambda v: [v[n - 1].double().mean().item() for n in BLEU_ORDERS])
        references = min(len(some), protocol.references or len(some))
        found.sign("eval/self_bleu", protocol.signature("self-bleu", values.shape[1], references))

    def _bleu_signature(self, samples: Sequences, references: int) -> str:
        protocol = self._protocol
        judged = min(len(samples), protocol.hypotheses or len(samples))
        return protocol.signature("bleu", judged, min(references, protocol.references or references))

    def _lm_signature(self, source: str, count: int) -> str:
        return (
            f"kneser-ney,modified,interpolated|order:{ORDER}|vocabulary:{self._vocabulary}|{source}:{count}"
        )

    def _frechet(self, samples: Sequences, real: Sequences) -> float:
        count = _as_many(samples, real)
        if count < 2:
            return math.nan
        return frechet_distance(*(self._features(one.select(slice(0, count))) for one in (samples, real)))

    def _mauve(self, samples: Sequences, real: Sequences) -> float:
        count = _as_many(samples, real)
        return mauve(*(self._features(one.select(slice(0, count))) for one in (samples, real)))

    def _floors(self, samples: Sequences, real: Sequences) -> list[float]:
        """The divergences of as many real sequences as the samples' were computed with, or fewer."""
        assert self._train is not None
        return _divergence(_spread(self._train, _as_many(samples, real, self._train)), real, self._end)


class _Found:
    """Collects metrics: what has no value is undefined."""

    def __init__(self) -> None:
        self._metrics: dict[str, float] = {}
        self._undefined: list[str] = []
        self._signatures: dict[str, str] = {}

    def add(self, name: str, value: float, signature: str | None = None) -> None:
        if math.isfinite(value):
            self._metrics[name] = value
        else:
            self._undefined.append(name)
        if signature is not None:
            self.sign(name, signature)

    def when(self, given: T | None, names: Sequence[str], values: Callable[[T], Sequence[float]]) -> None:
        """Adds what can be computed from something, if it is there."""
        found = [math.nan] * len(names) if given is None else values(given)
        for name, value in zip(names, found, strict=True):
            self.add(name, value)

    def sign(self, name: str, signature: str) -> None:
        self._signatures[name] = signature

    def scores(self) -> Scores:
        return Scores(self._metrics, tuple(self._undefined), self._signatures)


def signed(metrics: Mapping[str, float], signatures: Mapping[str, str]) -> dict[str, str]:
    """The signature of each metric that has one: its own, or that of the longest name that it begins with."""
    found = {}
    for name in metrics:
        starts = [start for start in signatures if name == start or name.startswith(f"{start}_")]
        if starts:
            found[name] = signatures[max(starts, key=len)]
    return found


def _divergence(samples: Sequences, real: Sequences, end: int | None) -> list[float]:
    count = _as_many(samples, real)
    return js_divergence(samples.select(slice(0, count)), real.select(slice(0, count)), end, max(JS_ORDERS))


def _as_many(*sides: Sequences | None) -> int:
    return min(len(side) for side in sides if side is not None)


def _spread(sequences: Sequences, count: int) -> Sequences:
    """So many sequences at equal distances over all of them."""
    return sequences.select(torch.arange(count) * len(sequences) // count)
