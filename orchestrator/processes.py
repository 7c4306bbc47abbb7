"""The processes of a run: who is started, where, and what their failures mean.

controller (this process)  ->  learner, rollout workers, evaluator   where the configuration has any
controller = learner                                                 where it has none: no Ray at all
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from orchestrator.actors import Actors
from orchestrator.config import RunConfig
from orchestrator.data import Dataset
from orchestrator.errors import PlacementError, ResumableError, UnitError, WeightsError
from orchestrator.later import Later
from orchestrator.learner import Learner
from orchestrator.needs import device_here
from orchestrator.precision import settle_precision
from orchestrator.run_directory import RunDirectory
from workers.calls import ActorHung, ActorLost
from workers.failures import MachinesFailed, UnitFailed, WrongWeights
from workers.placement import CannotPlace
from workers.ray_environment import CannotReach

Say = Callable[[str], None]


@dataclass(slots=True)
class Processes:
    """What the controller talks to.

    Attributes:
        learner: the learner, or what stands for it where it is an actor.
        evaluate_later: asks the evaluator for a checkpoint; None where the learner evaluates.
        actors: makes others for processes that are lost; None where the learner is this process.
    """

    learner: Learner
    evaluate_later: Later | None = None
    actors: Actors | None = None


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
    if config.pretrain.backward is not None:
        pretrain = config.pretrain.model_copy(update={"backward": config.pretrain.backward.absolute()})
        config = config.model_copy(update={"pretrain": pretrain})
    with explained(), ExitStack() as stack:
        if config.on_ray:
            actors = Actors(config, data, directory, say, warn, stack)
            yield Processes(actors.learner, actors.evaluate_later, actors)
        else:
            learner = Learner(config, data, device=device_here(config))
            stack.callback(learner.close)
            settle_precision(config, learner, directory, say, warn)
            directory.event("placed", placement="learner", learner=learner.describe())
            yield Processes(learner)


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
