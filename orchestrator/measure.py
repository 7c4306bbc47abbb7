"""One evaluation of a state of training, wherever it is made: beside the learner, or from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from algorithms.models.base import Generator
from algorithms.types import Sequences
from orchestrator.adversarial_evaluation import NAMES, AdversarialEvaluation, Side, enough
from orchestrator.codec import END
from orchestrator.config import RunConfig
from orchestrator.data import Dataset
from orchestrator.decoding import DRAWN, Decoding
from orchestrator.evaluation import evaluate, floor
from orchestrator.metrics.characters import Characters
from orchestrator.metrics.protocol import Protocol
from orchestrator.metrics.suite import Suite
from orchestrator.metrics.translation import translation_metrics
from orchestrator.state import TrainState
from workers.philox import Path
from workers.pool import Pool


@dataclass(frozen=True, slots=True)
class Measured:
    """What is told of a generator.

    Attributes:
        metrics: by metric name.
        undefined: names of what is not defined for this data or model.
        lines: its first samples, for people.
        signatures: how the metrics were computed, by metric name or by what several names begin with.
        real: the same metrics of real sequences in the place of samples; empty where not all was measured.
    """

    metrics: dict[str, float]
    undefined: tuple[str, ...]
    lines: tuple[str, ...]
    signatures: dict[str, str] = field(default_factory=dict)
    real: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What the evaluations of a branch have said beside numbers of their own; kept in every checkpoint.

    Attributes:
        undefined, signatures, real: as in ``Measured``, of all evaluations together.
    """

    undefined: tuple[str, ...] = ()
    signatures: Mapping[str, str] = field(default_factory=dict)
    real: Mapping[str, float] = field(default_factory=dict)

    def after(self, measured: Measured) -> Told:
        """With one more evaluation: what it has a number for is defined after all."""
        names = dict.fromkeys((*self.undefined, *measured.undefined))
        return Told(
            tuple(name for name in names if name not in measured.metrics),
            {**self.signatures, **measured.signatures},
            measured.real or self.real,
        )

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Told:
        """What a checkpoint kept."""
        return cls(tuple(meta["undefined"]), meta.get("signatures", {}), meta.get("real", {}))

    def meta(self) -> dict[str, Any]:
        """The same for a checkpoint."""
        return {
            "undefined": list(self.undefined),
            "signatures": dict(self.signatures),
            "real": dict(self.real),
        }


Scored = tuple[dict[str, float], dict[str, str]]
"""Metrics, and how they were computed, by metric name."""


def _characters(data: Dataset) -> Characters | None:
    codec = data.codec
    if codec is None or codec.level != "character":
        return None
    return Characters(codec.spelling, data.train, data.test, END, filled=codec.filled)


class Measure:
    """Evaluates states of one run, always on the same addresses: two results differ by the model, not by
    luck."""

    def __init__(self, config: RunConfig, data: Dataset, draw: int = 0) -> None:
        """
        Args:
            draw: other samples than those of the run itself, where it is not 0.
        """
        self._config, self._data = config, data
        self._path: Path = (config.seed, "evaluation", *([draw] if draw else []))
        self._floor: float | None = None
        self._real: dict[str, float] | None = None
        settings = config.evaluation
        self._adversarial = None
        if settings.adversarial and enough(data):
            self._adversarial = AdversarialEvaluation(settings.evaluator, data, config.seed)
        self._suite = Suite(
            data.spelling(),
            data.alphabet.end,
            characters=_characters(data),
            train=data.train,
            test=data.test,
            protocol=Protocol(),
            self_references=settings.diversity_samples,
            with_mauve=settings.mauve,
        )

    def __call__(
        self,
        state: TrainState,
        pool: Pool,
        *,
        judged: bool,
        decoding: Decoding = DRAWN,
        thorough: bool | None = None,
    ) -> Measured:
        """The metrics of the state's generator, by what it makes in one way or another.

        Args:
            pool: gets the state's networks, and draws the samples.
            judged: whether the discriminator has learned something that its accuracy could tell of.
            thorough: whether by all metrics; None as the configuration has it.
        """
        data, settings = self._data, self._config.evaluation
        if thorough is None:
            ends = settings.thorough == "ends" and state.between_stages(self._config)
            thorough = ends or settings.thorough == "always"
        pool.publish(state.generator, state.discriminator, state.policy)
        D = state.discriminator if judged else None
        result = evaluate(
            state.generator,
            D,
            pool,
            data,
            settings,
            self._path,
            self._suite,
            decoding=decoding,
            thorough=thorough,
            has_logit=state.algorithm.has_logit,
        )
        if thorough and self._real is None:
            self._real = self._suite.real(settings.samples)
        metrics, signatures = dict(result.metrics), dict(result.signatures)
        if thorough:
            for values, signed in (
                self._beside_references(result.samples),
                self._told_from_humans(state.generator, pool, decoding),
            ):
                metrics |= values
                signatures |= signed
        if data.oracle is not None:
            if self._floor is None:
                self._floor = floor(data.oracle, data.test)
            metrics["eval/nll_oracle_floor"] = self._floor
        lines = tuple(data.text(result.samples.tokens[: settings.shown]))
        real = (self._real or {}) if thorough else {}
        undefined = [*result.undefined]
        if thorough and settings.adversarial and self._adversarial is None:
            undefined += NAMES
        return Measured(metrics, tuple(undefined), lines, signatures, real)

    def _beside_references(self, samples: Sequences) -> Scored:
        """Of texts with sources: each reply beside the human one to the same history."""
        data = self._data
        if data.codec is None or data.test.source is None:
            return {}, {}
        references = data.text(data.test.tokens)
        many = [references[i % len(references)] for i in range(len(samples))]
        return translation_metrics(data.text(samples.tokens), many)

    def _told_from_humans(self, G: Generator, pool: Pool, decoding: Decoding) -> Scored:
        """What evaluators say, which are trained for it; not of replies at other temperatures."""
        asked = self._adversarial
        if asked is None or decoding.temperature != 1.0:
            return {}, {}

        def replies(side: Sequences, name: str) -> Sequences:
            place = (*self._path, "evaluator", name)
            return replace(decoding.sequences(pool, G, side.source, len(side), place), source=side.source)

        human = asked.human
        machine = Side(replies(human.train, "train"), replies(human.test, "test"))
        return asked(machine), asked.signatures()
