"""The metrics of samples beside real sequences, each with the signature of how it was computed.

What training data are there for: novelty, the forward language model, and as the "model" that nothing
should be able to beat (``real``). The real sequences that samples are held against are never among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch

from algorithms.bleu import References, self_bleus, sentence_bleus
from algorithms.types import Sequences
from orchestrator.metrics import copies
from orchestrator.metrics.characters import Characters
from orchestrator.metrics.divergence import js_divergence
from orchestrator.metrics.features import FEATURES, Features
from orchestrator.metrics.frechet import frechet_distance
from orchestrator.metrics.kneser_ney import ORDER, KneserNey
from orchestrator.metrics.mauve import MAUVE_SIGNATURE, mauve
from orchestrator.metrics.protocol import Protocol
from orchestrator.metrics.scores import Found, Scores

BLEU_ORDERS = (2, 3, 4, 5)
JS_ORDERS = (1, 2, 3, 4)
DISTINCT_ORDERS = (1, 2)


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
        characters: where the words are characters: what is known of them beside.
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
        characters: Characters | None = None,
    ) -> None:
        self._characters, self._filled = characters, characters is not None and characters.filled
        if characters is not None and characters.filled:
            train, test = (None if part is None else characters.lines(part) for part in (train, test))
            end = characters.end
        self._spelling, self._end, self._train, self._test = spelling, end, train, test
        self._protocol, self._with_mauve = protocol, with_mauve
        self._self_references = self_references
        self._vocabulary = vocabulary or len(spelling)

    def quick(self, samples: Sequences) -> Scores:
        """What takes tenths of a second: repeats, copies, distinct words, self-BLEU, the forward LM score."""
        found = Found()
        if self._characters is not None:
            self._of_characters(samples, self._characters, found)
            samples = self._characters.lines(samples)
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
        found, test = Found(), self._test
        if self._characters is not None:
            samples = self._characters.lines(samples)
        names = [f"eval/bleu_{n}" for n in BLEU_ORDERS]
        found.when(self._references, names, lambda real: self._bleu(samples, real))
        if not self._filled:  # else ``quick`` has them
            self._divergences(samples, found)
        found.when(
            test,
            ["eval/reverse_lm_score"],
            lambda real: [KneserNey(samples, self._vocabulary).nll(real)],
        )
        found.when(test, ["eval/frechet"], lambda real: [self._frechet(samples, real)])
        if self._with_mauve:
            found.when(test, ["eval/mauve"], lambda real: [self._mauve(samples, real)])
            found.sign("eval/mauve", f"{MAUVE_SIGNATURE}|samples:{_as_many(samples, test)}")
        if test is not None:
            found.sign("eval/bleu", self._bleu_signature(samples, len(test)))
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
        metrics = {name: v for name, v in metrics.items() if not name.endswith(("_floor", "_unigram"))}
        for name in ("eval/novelty", "eval/lm_score"):
            metrics.pop(name)
        if self._characters is not None:  # these, too, are held against the training data
            metrics |= self._of_held_out(self._characters)
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

    def _of_characters(self, samples: Sequences, known: Characters, found: Found) -> None:
        if known.filled:
            unigram = known.divergences(known.unigram)
            for n, js, floor, chance in zip(
                JS_ORDERS, known.divergences(samples), known.floors, unigram, strict=True
            ):
                found.add(f"eval/js_{n}", js)
                found.add(f"eval/js_{n}_floor", floor)
                found.add(f"eval/js_{n}_unigram", chance)
            found.sign("eval/js", known.divergence_signature)
        found.add("eval/known_words", known.known_words(samples))
        found.add("eval/known_words_unigram", known.known_words(known.unigram))

    def _of_held_out(self, known: Characters) -> dict[str, float]:
        divergences = zip(JS_ORDERS, known.floors, strict=True) if known.filled else ()
        found = {f"eval/js_{n}": floor for n, floor in divergences}
        return found | {"eval/known_words": known.known_words(known.test)}

    def _divergences(self, samples: Sequences, found: Found) -> None:
        """Of n-grams of as many samples as there are held-out sequences, and their floor."""
        names, test = [f"eval/js_{n}" for n in JS_ORDERS], self._test
        found.when(test, names, lambda real: _divergence(samples, real, self._end))
        learned = test if self._train is not None else None
        found.when(learned, [f"{name}_floor" for name in names], lambda real: self._floors(samples, real))
        if test is not None:
            found.sign("eval/js", f"js|bits|samples:{_as_many(samples, test)}-each|end:removed")

    def _bleu(self, samples: Sequences, real: References) -> list[float]:
        some, protocol = samples.select(slice(0, self._protocol.hypotheses)), self._protocol
        values = sentence_bleus(
            some, real, max(BLEU_ORDERS), protocol.smoothing, single_order=protocol.single_order
        )
        return [values[n - 1].double().mean().item() for n in BLEU_ORDERS]

    def _self_bleu(self, samples: Sequences, found: Found) -> None:
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


def _divergence(samples: Sequences, real: Sequences, end: int | None) -> list[float]:
    count = _as_many(samples, real)
    return js_divergence(samples.select(slice(0, count)), real.select(slice(0, count)), end, max(JS_ORDERS))


def _as_many(*sides: Sequences | None) -> int:
    return min(len(side) for side in sides if side is not None)


def _spread(sequences: Sequences, count: int) -> Sequences:
    """So many sequences at equal distances over all of them."""
    return sequences.select(torch.arange(count) * len(sequences) // count)
