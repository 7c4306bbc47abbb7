"""``--dry-run``: what a configuration would do and need, worked out before anything is trained or written."""

from __future__ import annotations

import math
from typing import Any

import torch

from algorithms.types import Alphabet
from orchestrator.config import RunConfig
from orchestrator.data import load_data, shape
from orchestrator.needs import check_placement, cluster_address, device_here, needs
from orchestrator.open_pool import unit_of
from orchestrator.processes import explained
from orchestrator.recipe import resolved
from orchestrator.state import TrainState

MIB = 2**20


def plan(config: RunConfig) -> dict[str, Any]:
    """Sizes, counts and memory of a run; reads the data that the configuration names, writes nothing.

    Raises:
        UserError: the data cannot be used.
        PlacementError: the processes do not fit.
    """
    with explained():
        check_placement(config)
    alphabet, length, train = _data(config)
    state = TrainState.fresh(config, alphabet, length)
    parameters = {name: _count(net) for name, net in state.networks().items()}
    spec = state.algorithm.rollouts(0)
    rows = config.batch_size * spec.samples * spec.completions * (length - 1)
    adversarial = config.steps if "adversarial" in state.algorithm.stages else 0
    settings, half = config.algorithm, config.algorithm.d_batch or max(1, config.batch_size // 2)
    phase = math.ceil(min(train, settings.d_sequences or train) / half) * settings.d_epochs
    minibatches = phase * state.algorithm.d_phases(0) if state.algorithm.has_discriminator else 0
    sequences = config.batch_size * spec.samples
    units = math.ceil(sequences / unit_of(config, state, config.rollout.workers)) if rows else 0
    trained = sum(parameters[name] for name in ("generator", "discriminator"))
    return {
        "config": resolved(config),
        "data": {"vocabulary": alphabet.size, "length": length, "train": train},
        "parameters": parameters,
        "adversarial_steps": adversarial,
        "controls": list(config.chosen_controls()) if adversarial else [],
        "completions_per_step": rows * config.algorithm.g_steps if adversarial else 0,
        "units_per_step": units,
        "discriminator_minibatches_per_step": minibatches if adversarial else 0,
        "checkpoint_mib": round(4 * (3 * trained + 2 * parameters["generator"]) / MIB, 1),
        "rollout_memory_mib": config.rollout.memory_mb * max(1, config.rollout.workers),
        "placement": _placement(config),
    }


def _placement(config: RunConfig) -> dict[str, Any]:
    """Which processes there will be, and what they ask of the machine or cluster."""
    learner = {"threads": config.learner.threads, "gpus": config.learner.gpus}
    if not config.on_ray:
        return {"rollouts": "in this process", **learner, "device": device_here(config)}
    asked = needs(config, config.rollout.placement)
    return {
        "rollouts": config.rollout.placement,
        **learner,
        "actors": {need.role: need.count for need in asked.values()},
        "cpu_slots": sum(need.count * need.cpus for need in asked.values()),
        "gpus_asked": sum(need.count * need.gpus for need in asked.values()),
        "cluster": cluster_address(config) or "one of its own, on this machine",
    }


def _data(config: RunConfig) -> tuple[Alphabet, int, int]:
    """The alphabet, T and the number of training sequences, without drawing any from an oracle."""
    if config.data.text:
        data = load_data(config.data)
        return data.alphabet, data.length, len(data.train)
    return *shape(config.data), config.data.sequences


def _count(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
