"""Everything that the next step depends on, and its form as named tensors and plain numbers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm, Stage
from algorithms.models.base import Discriminator, Generator, OneShotGenerator
from algorithms.registry import build
from algorithms.types import Alphabet
from orchestrator.config import RunConfig
from orchestrator.errors import UserError
from workers.philox import global_random


def stage_total(config: RunConfig, stage: Stage) -> int:
    """Epochs, rounds or steps of a stage."""
    return {
        "pretrain_generator": config.pretrain.generator_epochs,
        "pretrain_discriminator": config.pretrain.discriminator_rounds,
        "adversarial": config.steps,
    }[stage]


def _fit(config: RunConfig, generator: Generator, discriminator: Discriminator, algorithm: Algorithm) -> None:
    """Refuses what networks cannot do.

    Raises:
        UserError: the likelihood of a generator that emits all positions at once, or completions of its
            prefixes, are asked for; or a gradient through tokens, or scores of prefixes, or sources where
            there are none.
    """
    fits = isinstance(generator, OneShotGenerator) and discriminator.takes_relaxed
    if not fits and algorithm.relaxes:
        raise UserError(
            f"algorithm.name = {config.algorithm.name} needs relaxed symbols, which not both of "
            f"generator.name = {config.generator.name} and discriminator.name = {config.discriminator.name} "
            "know: set generator.name=residual_conv and discriminator.name=residual_conv"
        )
    if generator.conditional and not config.data.conditional:
        raise UserError(
            f"generator.name = {config.generator.name} answers a source, and these data have none: give "
            "data.path with data.format=dialogues or data.format=pairs, set data.builtin=conditional_oracle, "
            "or choose another generator"
        )
    if config.data.conditional and not generator.conditional:
        raise UserError(
            f"generator.name = {config.generator.name} would not read the sources that these data have: set "
            "generator.name=seq2seq, or data.format=lines"
        )
    if config.data.conditional and algorithm.has_discriminator and not discriminator.reads_source:
        raise UserError(
            f"discriminator.name = {config.discriminator.name} would not read the sources that these data "
            "have: set discriminator.name=hierarchical"
        )
    spec = algorithm.rollouts(0)
    if spec.prefixes and not discriminator.scores_prefixes:
        raise UserError(
            f"discriminator.name = {config.discriminator.name} scores whole sequences only, and "
            "algorithm.reward = prefix wants a reward for prefixes: set discriminator.name=hierarchical"
        )
    if not isinstance(generator, OneShotGenerator):
        return
    name = config.generator.name
    if spec.completions or spec.clamp:
        raise UserError(
            f"generator.name = {name} emits all positions at once and has no prefixes, which "
            f"algorithm.name = {config.algorithm.name} completes: choose another of the two"
        )
    if config.algorithm.teacher_forcing:
        raise UserError(
            f"generator.name = {name} has no likelihood without its latent z, which teacher forcing would "
            "raise: set algorithm.teacher_forcing=0"
        )
    if "pretrain_generator" in algorithm.stages and config.pretrain.generator_epochs:
        raise UserError(
            f"generator.name = {name} has no likelihood without its latent z, so it cannot be pretrained by "
            "maximum likelihood: set pretrain.generator_epochs=0"
        )


@dataclass(slots=True)
class TrainState:
    """A run in the middle of its life. Changed in place by the trainer, and by nobody else.

    Attributes:
        generator, discriminator, algorithm: the networks; the algorithm's own is often empty.
        policy: the lagging rollout policy, or None where completions come from the generator itself.
        optimizers: ``pretrain`` and ``generator`` move G in their stages, ``discriminator`` moves D in both,
            ``algorithm`` what that learns itself, if anything.
        stage: index into the algorithm's stages.
        done: epochs, rounds or steps completed in this stage.
        step: the same over all stages: what every metric is plotted against.
    """

    generator: Generator
    discriminator: Discriminator
    algorithm: Algorithm
    policy: Generator | None
    optimizers: dict[str, torch.optim.Optimizer]
    stage: int = 0
    done: int = 0
    step: int = 0

    @classmethod
    def fresh(
        cls, config: RunConfig, alphabet: Alphabet, length: int, device: torch.device | str = "cpu"
    ) -> TrainState:
        """Random networks that depend on the configuration and its seed alone.

        Args:
            device: where they are moved to; they are drawn on the CPU, so that they are the same everywhere.

        Raises:
            UserError: a model cannot be built for this alphabet and length.
        """
        try:
            with global_random((config.seed, "initialise", "generator")):
                generator = config.generator.build(alphabet, length)
            with global_random((config.seed, "initialise", "discriminator")):
                discriminator = config.discriminator.build(alphabet, length)
            with global_random((config.seed, "initialise", "algorithm")):
                algorithm = build(config.algorithm)
                algorithm.prepare(alphabet, length)
        except ValueError as problem:  # a model says that it does not fit the data
            raise UserError(str(problem)) from None
        _fit(config, generator, discriminator, algorithm)
        for net in (generator, discriminator, algorithm):
            net.to(device)
        state = cls(
            generator,
            discriminator,
            algorithm,
            copy.deepcopy(generator) if config.algorithm.policy_delay else None,
            {},
        )
        state.renew_optimizers(config)
        return state

    def renew_optimizers(self, config: RunConfig) -> None:
        """Optimisers without a memory, on the networks as they are now."""
        G, D, A = self.generator, self.discriminator, config.algorithm
        own = self.algorithm.own_optimizer()
        self.optimizers = {
            "pretrain": torch.optim.Adam(G.parameters(), lr=config.pretrain.generator_lr, fused=True),
            "generator": self.algorithm.optimizer(G, A.generator_lr),
            "discriminator": self.algorithm.optimizer(D, A.discriminator_lr),
            **({} if own is None else {"algorithm": own}),
        }

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.generator.parameters()).device

    @property
    def stage_name(self) -> Stage | None:
        """The stage that is under way, or None after the last."""
        stages = self.algorithm.stages
        return stages[self.stage] if self.stage < len(stages) else None

    def between_stages(self, config: RunConfig) -> bool:
        """Whether a stage begins or ends here."""
        stage = self.stage_name
        return stage is None or self.done in (0, stage_total(config, stage))

    def networks(self) -> dict[str, nn.Module]:
        """Every module with something to remember, in a fixed order."""
        modules: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "algorithm": self.algorithm,
        }
        if self.policy is not None:
            modules["policy"] = self.policy
        return modules

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name: ``generator/<parameter>``, ``generator_opt/<parameter>/exp_avg``, ..."""
        named = {
            f"{name}/{key}": value
            for name, net in self.networks().items()
            for key, value in net.state_dict().items()
        }
        for name, optimizer in self.optimizers.items():
            for key, parameter in self._owned(name):
                for slot, value in optimizer.state.get(parameter, {}).items():
                    named[f"{name}_opt/{key}/{slot}"] = value
        return named

    def counters(self) -> dict[str, int]:
        """The numbers beside the tensors."""
        return {"stage": self.stage, "done": self.done, "step": self.step}

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Puts back what ``tensors`` and ``counters`` gave.

        Raises:
            UserError: a tensor is missing, unknown, or of another shape than this configuration's.
        """
        left = dict(tensors)
        for name, net in self.networks().items():
            keys = list(net.state_dict())
            try:
                net.load_state_dict({key: left.pop(f"{name}/{key}") for key in keys})
            except (KeyError, RuntimeError) as problem:
                raise UserError(
                    f"the checkpoint's {name} does not fit this configuration or its data: {problem}"
                ) from None
        for name, optimizer in self.optimizers.items():
            optimizer.state.clear()
            for key, parameter in self._owned(name):
                prefix = f"{name}_opt/{key}/"
                slots = {
                    full.removeprefix(prefix): left.pop(full).to(parameter.device, copy=True)
                    for full in list(left)
                    if full.startswith(prefix)
                }
                if slots:
                    optimizer.state[parameter] = slots
        if left:
            raise UserError(
                f"the checkpoint has tensors that this configuration does not know: {sorted(left)[0]} ...; "
                "it belongs to another configuration"
            )
        self.stage, self.done = int(counters["stage"]), int(counters["done"])
        self.step = int(counters["step"])

    def parameters_sha256(self) -> str:
        """One hash of all parameters and buffers, in a fixed order: equal if and only if all bits are."""
        digest = sha256()
        for name, net in self.networks().items():
            for key, value in net.state_dict().items():
                digest.update(f"{name}/{key} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _owned(self, optimizer: str) -> list[tuple[str, nn.Parameter]]:
        net = {"discriminator": self.discriminator, "algorithm": self.algorithm}.get(
            optimizer, self.generator
        )
        return list(net.named_parameters())
