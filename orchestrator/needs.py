"""What a run asks of a machine or a cluster, said before anything is started."""

from __future__ import annotations

import os

import torch

from orchestrator.config import RunConfig
from workers.placement import CannotPlace, Need, own_node
from workers.ray_environment import free_memory


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
