"""Actors that really die, by SIGKILL, in the middle of what they are told to die in."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from orchestrator import actors, checkpoints
from orchestrator.trainer import Trainer

PHASES = ("generator", "discriminator", "save")
"""In the generator's update, in the discriminator's, and when half of a checkpoint is written."""
WORKER_PHASES = ("starting", "loading", "unit")
"""At the end of its constructor, with the first weights in hand, with a unit computed but not delivered."""


def mortal(phase: str, marker: Path, *, times: int = 1, hangs: bool = False) -> type[actors.LearnerActor]:
    """A class of learners of which the first ``times`` die in their adversarial stage.

    Args:
        marker: a folder; who dies leaves a file there, with its process's number in it.
        hangs: they do not die, but wait for ever.
    """

    class LearnerActor(actors.LearnerActor):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            arm(phase, marker, times, hangs)

    return LearnerActor


def mortal_worker(phase: str, marker: Path) -> type:
    """A class of rollout workers of which the first one to come there dies; see ``mortal``."""
    from workers.ray_worker import RayRolloutWorker  # imports Ray

    class Mortal(RayRolloutWorker):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            if phase == "starting":
                end(marker)

        def take(self, *args: Any) -> None:
            if phase == "loading":
                end(marker)
            super().take(*args)

        def attempt(self, *args: Any) -> Any:
            done = super().attempt(*args)
            if phase == "unit":
                end(marker)
            return done

    return Mortal


def end(marker: Path, times: int = 1, hangs: bool = False) -> None:
    """Ends this process, unless enough have ended here."""
    marker.mkdir(exist_ok=True)
    for number in range(times):
        try:
            with (marker / str(number)).open("x") as file:  # of two that come at once, one
                file.write(str(os.getpid()))
        except FileExistsError:
            continue
        while hangs:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)


def arm(phase: str, marker: Path, times: int, hangs: bool) -> None:
    """Lays the trap in this process."""

    def die() -> None:
        end(marker, times, hangs)

    descend, sync = Trainer.descend, checkpoints._sync

    def descending(trainer: Trainer, name: str, *more: Any) -> None:
        if name == phase and trainer.state.stage_name == "adversarial" and trainer.state.done == 1:
            die()
        descend(trainer, name, *more)

    def syncing(path: Path) -> None:
        if path.name == "manifest.json" and path.parent.name.startswith("tmp-000005"):
            die()
        sync(path)

    if phase == "save":
        checkpoints._sync = syncing
    else:
        Trainer.descend = descending  # type: ignore[method-assign]
