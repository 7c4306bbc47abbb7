"""The actors of a run on a Ray cluster: made together, the learner made again where it is lost.

The controller creates and owns every actor; they end with it.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from orchestrator.choices import choices, keep_choice
from orchestrator.config import RunConfig
from orchestrator.data import Dataset
from orchestrator.evaluator import Evaluator
from orchestrator.later import Later
from orchestrator.learner import Learner, Position
from orchestrator.measure import Measured
from orchestrator.needs import cluster_address, needs
from orchestrator.open_pool import Placement
from orchestrator.precision import settle_precision
from orchestrator.progress import Progress
from orchestrator.run_directory import RunDirectory
from orchestrator.state import TrainState
from workers.calls import ActorHung, ActorLost, Starting
from workers.cluster import Cluster, assigned_device, start_cluster
from workers.overdue import EARLIER, Overdue
from workers.placement import CannotPlace, Need
from workers.rollout import Networks
from workers.worker import skeleton

Say = Callable[[str], None]

FASTER = 1.2
"""How much faster the learner's own rollouts must be before they are preferred to those of the workers that
were asked for: a tie goes to the workers."""


class LearnerActor(Learner):
    """The learner in a process of its own, on the device that Ray gave it."""

    def __init__(self, config: RunConfig, data: Dataset, stacks: Path) -> None:
        """
        Args:
            stacks: a folder that is told where it stands when a call is overdue.
        """
        super().__init__(config, data, assigned_device())
        self._overdue = Overdue(stacks, "learner")

    def advance(self) -> tuple[Progress, Position]:
        with self._overdue.after(EARLIER * self.config.learner.deadline_s):
            return super().advance()

    def evaluate(
        self, temperature: float = 1.0, *, judged: bool = True, thorough: bool | None = None
    ) -> Measured:
        with self._overdue.after(EARLIER * self.config.learner.deadline_s):
            return super().evaluate(temperature, judged=judged, thorough=thorough)

    def save(self, directory: Path, meta: Mapping[str, Any]) -> None:
        with self._overdue.after(EARLIER * self.config.learner.deadline_s):
            super().save(directory, meta)


class EvaluatorActor(Evaluator):
    """The evaluator in a process of its own, on the device that Ray gave it."""

    def __init__(self, config: RunConfig, data: Dataset, stacks: Path) -> None:
        os.nice(10)  # training goes first
        super().__init__(config, data, assigned_device())
        self._overdue, self._deadline_s = Overdue(stacks, "evaluator"), config.learner.deadline_s

    def evaluate(self, directory: Path, step: int) -> Measured:
        with self._overdue.after(EARLIER * self._deadline_s):
            return super().evaluate(directory, step)


def rollout_workers(
    config: RunConfig,
    data: Dataset,
    cluster: Cluster,
    need: Need,
    stacks: Path | None = None,
    made: type | None = None,
) -> Starting:
    """Has so many workers started, with networks of the configuration's shapes.

    Args:
        stacks: a folder that they tell where they stand when a unit is overdue.
        made: their class; None: ``RayRolloutWorker``.
    """
    from workers.ray_worker import RayRolloutWorker  # imports Ray

    state = TrainState.fresh(config, data.alphabet, data.length)
    networks = Networks(state.generator, copy.deepcopy(state.generator), state.discriminator)
    return cluster.begin(
        made or RayRolloutWorker,
        skeleton(networks),
        config.rollout.memory_mb * 2**20,
        config.scoring.tables_mb * 2**20,
        stacks,
        need=need,
        max_restarts=config.rollout.worker_restarts,
    )


class Actors:
    """What the controller has made on a cluster.

    Attributes:
        learner: stands for the learner; another one after ``make_learner``.
        evaluate_later: asks the evaluator for a checkpoint; None where the learner evaluates.
        learner_class, worker_class: what actors are made of; None: ``RayRolloutWorker``.
    """

    learner: Learner
    evaluate_later: Later | None = None
    learner_class: type[LearnerActor] = LearnerActor
    worker_class: type | None = None

    def __init__(
        self, config: RunConfig, data: Dataset, directory: RunDirectory, say: Say, warn: Say, stack: ExitStack
    ) -> None:
        """Starts or joins the cluster, for as long as the stack is entered, and makes everything on it."""
        self._config, self._data, self._directory = config, data, directory
        self._say, self._warn = say, warn
        self._gone = self._replaced = 0
        self._dead: set[int] = set()  # places in ``_workers``
        placement = self._placement()
        wanted = needs(config, placement)
        say(f"starting {' and '.join(need.named(need.count) for need in wanted.values())} ...")
        self._cluster = stack.enter_context(
            start_cluster(
                cluster_address(config),
                needs=list(wanted.values()),
                store_mb=config.cluster.store_mb,
                patience_s=config.cluster.patience_s,
            )
        )
        self._need = wanted["learner"]
        others = sum(need.count * need.gpus for need in wanted.values())
        if config.learner.gpus == "auto" and self._cluster.gpus() - others >= 1:
            self._need = replace(self._need, gpus=1)
        # all are made side by side
        learning = self._begin_learner()
        rolling = self._begin_workers(wanted["worker"]) if "worker" in wanted else None
        evaluating = self._begin_evaluator(wanted["evaluator"]) if "evaluator" in wanted else None
        self._take(learning)
        self._workers = self._cluster.ready(rolling) if rolling is not None else []
        self._place(placement)
        settle_precision(config, self.learner, directory, say, warn)
        self._describe()
        if evaluating is not None:
            (evaluator,) = self._cluster.ready(evaluating)
            asked = self._cluster.stub(evaluator, "evaluator", deadline_s=config.learner.deadline_s)
            self.evaluate_later = lambda folder, step: asked.later("evaluate", folder, step)

    def make_learner(self) -> Learner:
        """Another learner, as the last one was when the run began; what is left of that one is ended."""
        self._cluster.release(self._handles)
        self._take(self._begin_learner())
        # those that were gone for the last one are nobody that this one should wait for
        self._workers = [worker for place, worker in enumerate(self._workers) if place not in self._dead]
        self._gone, self._dead = 0, set()
        if self._workers:
            self.learner.place("workers", self._workers)
        settle_precision(self._config, self.learner, self._directory, self._say, self._warn)
        return self.learner

    def replace_workers(self, gone: int) -> None:
        """Makes others for workers that are gone for good, as far as ``rollout.worker_replacements`` goes.

        Args:
            gone: how many are, of all that the learner was ever given.
        """
        missing = min(gone - self._gone, self._config.rollout.worker_replacements - self._replaced)
        self._gone = gone
        if missing <= 0:
            return
        self._replaced += missing
        self._dead = set(self.learner.gone_workers())
        need = replace(needs(self._config, "workers")["worker"], count=missing)
        try:
            made = self._cluster.ready(self._begin_workers(need))
        except (CannotPlace, ActorHung, ActorLost) as problem:
            self._warn(f"{missing} rollout workers are gone for good, and others cannot be made: {problem}")
            return
        self.learner.add_workers(made)
        self._workers += made
        self._directory.event("workers_replaced", count=missing)
        self._warn(f"{missing} rollout workers were gone for good; others were made")

    def give_up_workers(self) -> None:
        """Ends all workers; the next learner makes rollouts itself."""
        self._cluster.release(self._workers)
        self._workers = []

    def _placement(self) -> str:
        """Who is to make rollouts, as asked for or as the run has found out before."""
        asked, known = self._config.rollout, choices(self._directory).get("placement")
        if not asked.workers:
            return "learner"
        if known == "learner" and asked.placement != "learner":
            self._warn(
                "this run chose rollouts by the learner when it began (placement.json): "
                "the workers that are asked for are not used"
            )
        return known or asked.placement

    def _begin_learner(self) -> Starting:
        # on the controller's node: the run cannot outlive that one anyway, and the others may be reclaimed
        return self._cluster.begin(
            self.learner_class, self._config, self._data, self._directory.stacks, need=self._need, near=True
        )

    def _begin_workers(self, need: Need) -> Starting:
        return rollout_workers(
            self._config, self._data, self._cluster, need, self._directory.stacks, self.worker_class
        )

    def _begin_evaluator(self, need: Need) -> Starting:
        stacks = self._directory.stacks
        return self._cluster.begin(
            EvaluatorActor, self._config, self._data, stacks, need=need, near=True, max_restarts=3
        )

    def _take(self, begun: Starting) -> None:
        """Waits for a learner that was begun."""
        self._handles = self._cluster.ready(begun)
        stub = self._cluster.stub(self._handles[0], "learner", deadline_s=self._config.learner.deadline_s)
        self.learner = cast(Learner, stub)

    def _place(self, placement: str) -> None:
        """Has the learner know who makes rollouts; finds out where that is left to a trial."""
        if placement == "auto":
            self._try_both()
        elif self._workers:
            self.learner.place("workers", self._workers)

    def _try_both(self) -> None:
        """Tries both ways for a moment, and leaves the learner with the faster one."""
        seconds: dict[Placement, float] = {"learner": self.learner.trial()}
        self.learner.place("workers", self._workers)
        seconds["workers"] = self.learner.trial()
        own, theirs, count = seconds["learner"], seconds["workers"], len(self._workers)
        chosen: Placement = "workers" if own * FASTER >= theirs else "learner"
        enough = break_even(count, seconds)
        keep_choice(
            self._directory,
            {"placement": chosen, "seconds_per_sequence": seconds, "break_even_workers": enough},
        )
        self._say(
            f"rollouts of one sequence take {1e3 * theirs:.3g} ms by {count} workers, {1e3 * own:.3g} ms by "
            f"the learner, {enough} workers would be even: they are made by the {chosen}"
        )
        if chosen == "learner":
            self.learner.place("learner", ())
            self._cluster.release(self._workers)
            self._workers = []

    def _describe(self) -> None:
        """Writes down who does what."""
        described, count = self.learner.describe(), len(self._workers)
        chosen = "workers" if count else "learner"
        self._directory.event("placed", placement=chosen, workers=count, learner=described)
        if not described["exact"]:
            found = "; ".join(described["rollouts"])
            self._warn(
                f"rollouts are made by different classes of device ({found}): results are not exact to the "
                "bit"
            )


def break_even(workers: int, seconds: Mapping[Placement, float]) -> int:
    """How many such workers make rollouts as fast as the learner, as far as they share the work evenly.

    Args:
        workers: how many there are.
        seconds: that one sequence takes by all of them, and by the learner.
    """
    return max(1, math.ceil(workers * seconds["workers"] / seconds["learner"]))
