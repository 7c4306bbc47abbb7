"""One evaluation of a state of training, wherever it is made: beside the learner, or from a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.config import RunConfig
from orchestrator.data import Dataset
from orchestrator.evaluation import evaluate, floor
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
    """

    metrics: dict[str, float]
    undefined: tuple[str, ...]
    lines: tuple[str, ...]


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

    def __call__(self, state: TrainState, pool: Pool, *, judged: bool, temperature: float = 1.0) -> Measured:
        """The metrics of the state's generator, sampled at a temperature.

        Args:
            pool: gets the state's networks, and draws the samples.
            judged: whether the discriminator has learned something that its accuracy could tell of.
        """
        data, settings = self._data, self._config.evaluation
        pool.publish(state.generator, state.discriminator, state.policy)
        D = state.discriminator if judged else None
        result = evaluate(state.generator, D, pool, data, settings, self._path, temperature=temperature)
        metrics = dict(result.metrics)
        if data.oracle is not None:
            if self._floor is None:
                self._floor = floor(data.oracle, data.test)
            metrics["eval/nll_oracle_floor"] = self._floor
        lines = tuple(data.text(result.samples.tokens[: settings.shown]))
        return Measured(metrics, result.undefined, lines)
