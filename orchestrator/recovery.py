"""What a run on a cluster does about lost processes: others are made, and it goes on from the last commit."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.config import RunConfig
from orchestrator.processes import Processes
from orchestrator.progress import Progress
from orchestrator.restarts import Restarts
from orchestrator.run_directory import RunDirectory
from workers.calls import ActorHung, ActorLost
from workers.failures import WorkersLost


class Recovery:
    """The decisions of one attempt."""

    def __init__(
        self, config: RunConfig, directory: RunDirectory, processes: Processes, warn: Callable[[str], None]
    ) -> None:
        self._config, self._directory, self._processes, self._warn = config, directory, processes, warn
        self._restarts = Restarts(config.learner.restarts)
        self._lost = False

    def prepare(self) -> None:
        """Puts another learner in the place of a lost one."""
        if self._lost and self._processes.actors is not None:
            self._processes.learner = self._processes.actors.make_learner()
        self._lost = False

    def passed(self, progress: Progress) -> None:
        """A step is done: what was lost for good meanwhile is replaced."""
        self._restarts.reached((progress.branch, progress.step))
        gone = progress.metrics.get("fault/workers_gone")
        if gone and self._processes.actors is not None:
            self._processes.actors.replace_workers(int(gone))

    def possible(self, problem: ActorLost | ActorHung | WorkersLost) -> bool:
        """Whether training may begin again at the last commit, after ``prepare``."""
        if isinstance(problem, WorkersLost):
            self._lost = self._without_workers(problem)
        else:
            self._lost = problem.role == "learner" and self._with_another_learner(problem)
        return self._lost

    def _without_workers(self, problem: WorkersLost) -> bool:
        actors = self._processes.actors
        if actors is None or not self._config.rollout.fallback:
            return False
        self._warn(f"{problem}. The learner goes on alone from the last commit (rollout.fallback)")
        self._directory.event("workers_given_up", reason=str(problem))
        actors.give_up_workers()
        return True

    def _with_another_learner(self, problem: ActorLost | ActorHung) -> bool:
        if self._processes.actors is None:
            return False
        if not self._restarts.another():
            self._warn(f"{problem}, {self._restarts.limit} times in a row without progress: no other is made")
            return False
        stacks = self._directory.stacks
        told = f" (where it stood: {stacks})" if stacks.is_dir() else ""
        self._warn(f"{problem}{told}; another one goes on from the last commit")
        self._directory.event("learner_lost", reason=str(problem), restarts=self._restarts.total)
        return True
