"""The processes of a run: who is started, where, and what their failures mean.

    controller (this process)  ->  learner, rollout workers, evaluator   where the configuration has any
    controller = learner                                                 where it has none: no Ray at all

The controller creates and owns every actor; they end with it.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from algorithms.types import Precision
from orchestrator.config import RunConfig
from orchestrator.data import Dataset
from orchestrator.errors import PlacementError, ResumableError, UnitError, WeightsError
from orchestrator.evaluator import Evaluator
from orchestrator.later import Later
from orchestrator.learner import MOST_DEVIATION, Learner
from orchestrator.open_pool import Placement
from orchestrator.run_directory import RunDirectory
from orchestrator.state import TrainState
from workers.calls import ActorHung, ActorLost, Starting
from workers.cluster import Cluster, assigned_device, start_cluster
from workers.failures import MachinesFailed, UnitFailed, WrongWeights
from workers.placement import CannotPlace, Need, own_node
from workers.ray_environment import CannotReach, free_memory
from workers.rollout import Networks
from workers.worker import skeleton

Say = Callable[[str], None]

FASTER = 1.2
"""How much faster the learner's own rollouts must be before they are preferred to those of the workers that
were asked for: a tie goes to the workers."""


@dataclass(frozen=True, slots=True)
class Processes:
    """What the controller talks to.

    Attributes:
        learner: the learner, or what stands for it where it is an actor.
        evaluate_later: asks the evaluator for a checkpoint; None where the learner evaluates.
    """

    learner: Learner
    evaluate_later: Later | None = None


@contextmanager
def open_processes(
    config: RunConfig, data: Dataset, directory: RunDirectory, say: Say, warn: Say
) -> Iterator[Processes]:
    """Starts what the configuration asks for, and ends it.

    Raises:
        PlacementError: it does not fit on this machine or cluster.
        ResumableError: a process died for good; what was committed is intact.
    """
    if config.init.run is not None:  # an actor's folder is another one
        init = config.init.model_copy(update={"run": config.init.run.absolute()})
        config = config.model_copy(update={"init": init})
    with explained(), ExitStack() as stack:
        if config.on_ray:
            yield _actors(config, data, directory, say, warn, stack)
        else:
            learner = Learner(config, data, device=device_here(config))
            stack.callback(learner.close)
            _settle_precision(config, learner, directory, say, warn)
            directory.event("placed", placement="learner", learner=learner.describe())
            yield Processes(learner)


def cluster_address(config: RunConfig) -> str | None:
    """The cluster that the run joins; None where it starts one of its own."""
    return config.cluster.address or os.environ.get("RAY_ADDRESS") or None


def needs(config: RunConfig, placement: str) -> dict[str, Need]:
    """What the actors of a run ask of a cluster, by role; the learner's GPU is added where there is one."""
    asked = config.learner.gpus
    found = {"learner": Need("learner", gpus=0 if asked == "auto" else asked, setting="learner.gpus")}
    if config.rollout.workers and placement != "learner":
        found["worker"] = Need(
            "rollout worker",
            config.rollout.workers,
            gpus=config.rollout.worker_gpus,
            setting="rollout.worker_gpus",
        )
    if config.evaluation.actor:
        found["evaluator"] = Need("evaluator")
    return found


def _actors(
    config: RunConfig, data: Dataset, directory: RunDirectory, say: Say, warn: Say, stack: ExitStack
) -> Processes:
    known = _choices(directory).get("placement")
    placement: str = known or config.rollout.placement
    if not config.rollout.workers:
        placement = "learner"
    elif known == "learner" and config.rollout.placement != "learner":
        warn(
            "this run chose rollouts by the learner when it began (placement.json): "
            "the workers that are asked for are not used"
        )
    wanted = needs(config, placement)
    asked = " and ".join(need.named(need.count) for need in wanted.values())
    say(f"starting {asked} ...")
    cluster = stack.enter_context(
        start_cluster(
            cluster_address(config),
            needs=list(wanted.values()),
            store_mb=config.cluster.store_mb,
            patience_s=config.cluster.patience_s,
        )
    )
    need = wanted["learner"]
    others = sum(need.count * need.gpus for need in wanted.values())
    if config.learner.gpus == "auto" and cluster.gpus() - others >= 1:
        need = replace(need, gpus=1)
    # on the controller's node: the run cannot outlive that one anyway, and the others may be reclaimed
    learning = cluster.begin(LearnerActor, config, data, need=need, near=True)
    rolling = rollout_workers(config, data, cluster, wanted["worker"]) if "worker" in wanted else None
    evaluating = (
        cluster.begin(EvaluatorActor, config, data, need=wanted["evaluator"], near=True, max_restarts=3)
        if "evaluator" in wanted
        else None
    )
    (handle,) = cluster.ready(learning)
    learner = cast(Learner, cluster.stub(handle, "learner", deadline_s=config.learner.deadline_s))
    workers = cluster.ready(rolling) if rolling is not None else []
    chosen: Placement = "workers" if workers else "learner"
    if placement == "auto":
        chosen, seconds = _fastest(config, learner, workers)
        _keep_choice(directory, {"placement": chosen, "seconds_per_sequence": seconds})
        if chosen == "learner":
            cluster.release(workers)
    elif workers:
        learner.place("workers", workers)
    _settle_precision(config, learner, directory, say, warn)
    described = learner.describe()
    directory.event(
        "placed", placement=chosen, workers=len(workers) if chosen == "workers" else 0, learner=described
    )
    if not described["exact"]:
        found = "; ".join(described["rollouts"])
        warn(f"rollouts are made by different classes of device ({found}): results are not exact to the bit")
    if evaluating is None:
        return Processes(learner)
    (evaluator,) = cluster.ready(evaluating)
    asked_later = cluster.stub(evaluator, "evaluator", deadline_s=config.learner.deadline_s)
    return Processes(learner, lambda folder, step: asked_later.later("evaluate", folder, step))


class LearnerActor(Learner):
    """The learner in a process of its own, on the device that Ray gave it."""

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        super().__init__(config, data, assigned_device())


class EvaluatorActor(Evaluator):
    """The evaluator in a process of its own, on the device that Ray gave it."""

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        os.nice(10)  # training goes first
        super().__init__(config, data, assigned_device())


def rollout_workers(config: RunConfig, data: Dataset, cluster: Cluster, need: Need) -> Starting:
    """Has so many workers started, with networks of the configuration's shapes."""
    from workers.ray_pool import RayRolloutWorker  # imports Ray

    state = TrainState.fresh(config, data.alphabet, data.length)
    networks = Networks(state.generator, copy.deepcopy(state.generator), state.discriminator)
    return cluster.begin(
        RayRolloutWorker,
        skeleton(networks),
        config.rollout.memory_mb * 2**20,
        config.scoring.tables_mb * 2**20,
        need=need,
        max_restarts=config.rollout.worker_restarts,
    )


def _fastest(
    config: RunConfig, learner: Learner, workers: list[Any]
) -> tuple[Placement, dict[Placement, float]]:
    """Tries both ways for a moment, and leaves the learner with the faster one."""
    seconds: dict[Placement, float] = {"learner": learner.trial()}
    learner.place("workers", workers)
    seconds["workers"] = learner.trial()
    if seconds["learner"] * FASTER >= seconds["workers"]:
        return "workers", seconds
    learner.place("learner", ())
    return "learner", seconds


def _settle_precision(
    config: RunConfig, learner: Learner, directory: RunDirectory, say: Say, warn: Say
) -> None:
    """Has scores computed as the configuration says, or as the run has chosen, or chooses now."""
    asked = config.scoring.precision
    if asked == "fp32":
        return
    precision: Precision | None = _choices(directory).get("precision")
    if asked == "bf16":
        precision = "bf16"
        if not learner.fast_bf16():
            warn("scoring.precision=bf16, but there are no instructions for it: fp32 is faster here")
    elif precision is None:
        deviation = learner.precision_deviation() if learner.fast_bf16() else None
        precision = "bf16" if deviation is not None and deviation <= MOST_DEVIATION else "fp32"
        _keep_choice(directory, {"precision": precision, "precision_deviation": deviation})
        say(f"scores are computed in {precision}")
    learner.set_precision(precision)


def _choices(directory: RunDirectory) -> dict[str, Any]:
    """What the run has found out before its first step, and keeps to."""
    return dict(directory.read_json("placement.json") or {})


def _keep_choice(directory: RunDirectory, choice: dict[str, Any]) -> None:
    directory.write_json("placement.json", _choices(directory) | choice)


def check_placement(config: RunConfig) -> None:
    """Raises `CannotPlace` where it is certain, without starting anything, that the processes do not fit."""
    if not config.on_ray:
        device_here(config)
    elif cluster_address(config) is None:
        asked = list(needs(config, config.rollout.placement).values())
        own_node(asked, config.cluster.store_mb, free_memory())


def device_here(config: RunConfig) -> str:
    """The device of a learner in this process."""
    have = torch.cuda.device_count()
    if config.learner.gpus == "auto":
        return "cuda" if have else "cpu"
    if config.learner.gpus > have:
        raise CannotPlace(
            f"learner.gpus = {config.learner.gpus}, but this machine has "
            f"{have or 'no'} GPU{'s' * (have != 1)} that PyTorch can use: set learner.gpus={have} or auto"
        )
    return "cuda" if config.learner.gpus else "cpu"


@contextmanager
def explained() -> Iterator[None]:
    """Gives the failures of processes their exit codes."""
    try:
        yield
    except (CannotPlace, CannotReach) as problem:
        raise PlacementError(str(problem)) from None
    except (ActorLost, ActorHung, MachinesFailed) as problem:
        raise ResumableError(f"{problem}. What was committed is intact: `advseq resume` continues") from None
    except WrongWeights as problem:
        raise WeightsError(str(problem)) from None
    except UnitFailed as problem:
        raise UnitError(str(problem)) from None
