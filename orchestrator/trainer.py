"""The training loop, written once for every algorithm: Algorithm 1 of all these papers.

    pretrain the generator, epoch by epoch
    pretrain the discriminator, round by round, each on fresh negatives
    repeat: g generator steps on scored rollouts, d discriminator phases of k epochs on fresh negatives

It is a generator: after each epoch, round or step it yields, with the state at rest. Logging,
checkpoints, the display and pruning are consumers; closing the iterator stops the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from algorithms.base import Stage
from algorithms.types import Loss, Precision, RolloutSpec, Sequences
from orchestrator.config import RunConfig
from orchestrator.decoding import Searched
from orchestrator.descent import descend
from orchestrator.hashing import of_networks
from orchestrator.progress import Progress
from orchestrator.rates import falling
from orchestrator.state import TrainState, stage_total
from orchestrator.step_metrics import StepMetrics, describe_rollouts, drawn
from workers import philox
from workers.pool import Pool, Request

_TOLD = {"discriminator": ("d/grad_norm", "discriminator"), "algorithm": ("adv/critic_grad_norm", "critic")}
"""The metric of its gradient's norm and the network, by the name of an optimiser; else the generator's."""


class Trainer:
    """The loop over one state. ``advance`` does one epoch, round or step."""

    def __init__(
        self,
        config: RunConfig,
        state: TrainState,
        pool: Pool,
        train: Sequences,
        *,
        branch: str = "",
        trains_discriminator: bool = True,
        precision: Precision = "fp32",
        learning: Precision = "fp32",
        searched: Callable[[], Searched] | None = None,
    ) -> None:
        """
        Args:
            state: changed in place; a restored one continues where it was.
            train: the real sequences, [n, T].
            branch: the control's name; no random number depends on it, so that only one thing differs.
            trains_discriminator: whether the adversarial stage has discriminator phases.
            precision: of the scores that the generator learns from.
            learning: of the matrix products with which the discriminator learns.
            searched: what finds those negatives of the discriminator's pretraining that are not drawn.
        """
        self.searched = searched
        self.config, self.state, self.pool, self.train, self.branch = config, state, pool, train, branch
        self.device, self.precision, self.learning = state.device, precision, learning
        self.trains_discriminator = (
            trains_discriminator and "pretrain_discriminator" in state.algorithm.stages
        )
        self._published = False

    def __iter__(self) -> Iterator[Progress]:
        while (progress := self.advance()) is not None:
            yield progress

    def enter_stage(self) -> Stage | None:
        """Skips to the next stage with something left to do, and names it; None at the end."""
        while (stage := self.state.stage_name) is not None and self.state.done >= stage_total(
            self.config, stage
        ):
            self.state.stage, self.state.done = self.state.stage + 1, 0
        return stage

    def advance(self) -> Progress | None:
        """One epoch, round or step; None when nothing is left."""
        stage = self.enter_stage()
        if stage is None:
            return None
        started = time.perf_counter()
        self.pool.report()  # what others asked of the pool meanwhile (an evaluation) is not this step's
        if stage != "pretrain_generator" and not self._published:
            self.publish()
        metrics = StepMetrics()
        work = {
            "pretrain_generator": self._pretrain_generator,
            "pretrain_discriminator": self._pretrain_discriminator,
            "adversarial": self._adversarial,
        }
        work[stage](metrics)
        self.state.done += 1
        self.state.step += 1
        logged = metrics.means() | {"time/step": time.perf_counter() - started}
        if stage != "pretrain_generator":
            logged |= self.pool.report()
            logged["perf/learner_idle_ratio"] = logged.get("time/rollout_wait", 0.0) / logged["time/step"]
        return Progress(
            self.state.step,
            stage,
            self.state.done,
            stage_total(self.config, stage),
            self.branch,
            logged,
            fingerprints=metrics.seen | of_networks(self.state),
        )

    def _pretrain_generator(self, metrics: StepMetrics) -> None:
        state, epoch = self.state, self.state.done
        path: philox.Path = (self.config.seed, "pretrain_generator", epoch)
        order: philox.Path = path if self.config.pretrain.shuffle else path[:2]
        state.generator.train()
        settings = self.config.pretrain
        self._set_rate(
            "pretrain",
            falling(settings.generator_lr, settings.generator_lr_decay, settings.generator_epochs, epoch),
        )
        for number, real in enumerate(
            self._minibatches(self.train, self.config.batch_size, (*order, "order"))
        ):
            place = (*path, number)
            with philox.global_random(place):
                loss = state.algorithm.pretrain_loss(
                    state.generator, real, epoch, philox.generator((*place, "loss"))
                )
                self.descend("pretrain", loss, metrics)
        self._published = False

    def _pretrain_discriminator(self, metrics: StepMetrics) -> None:
        place: philox.Path = (self.config.seed, "pretrain_discriminator", self.state.done)
        spec, settings = RolloutSpec(scores=(), drawn=not self.state.algorithm.relaxes), self.config.pretrain
        few = settings.discriminator_sequences
        real = self.train if few is None else self._draw_real((*place, "positives"), few)
        self._discriminate(place, metrics, settings.discriminator_epochs, real, spec)
        self.publish()

    def _adversarial(self, metrics: StepMetrics) -> None:
        state, settings = self.state, self.config.algorithm
        path: philox.Path = (self.config.seed, "adversarial", state.done)
        self._set_rate(
            "generator",
            falling(settings.generator_lr, settings.generator_lr_decay, self.config.steps, state.done),
        )
        if state.policy is not None and state.done == 0:  # Algorithm 1: beta <- theta where the stage begins
            state.policy.load_state_dict(state.generator.state_dict())
            self.publish()
        phases = [self._generate, self._discriminate_all]
        for phase in reversed(phases) if state.algorithm.discriminator_first else phases:
            phase(path, metrics)
        if state.policy is not None:
            _blend(state.policy, state.generator, settings.policy_delay)
        self.publish()

    def _generate(self, path: philox.Path, metrics: StepMetrics) -> None:
        """g updates of the generator, each on fresh rollouts."""
        state = self.state
        for g in range(self.config.algorithm.g_steps):
            place = (*path, "generator", g)
            real = self._draw_real((*place, "real"), self.config.batch_size)
            spec = replace(state.algorithm.rollouts(state.done), precision=self.precision)
            with metrics.timed("time/generate"):
                wanted = Request(len(real), real.source, real if spec.clamp else None)
                fake = replace(self.pool.collect(spec, wanted, place), step=state.done).to(self.device)
                metrics.saw("rollouts", *drawn(fake.sequences), fake.log_prob, fake.scores)
            state.generator.train()
            state.discriminator.eval()
            with metrics.timed("time/g_update"), philox.global_random(place):
                loss = state.algorithm.generator_loss(
                    state.generator,
                    state.discriminator,
                    fake,
                    real.to(self.device),
                    philox.generator((*place, "loss")),
                )
                self.descend("generator", loss, metrics)
            if spec.drawn:
                metrics.add(describe_rollouts(fake, state.algorithm.credit(fake)))
            with metrics.timed("time/g_update"), philox.global_random((*place, "after")):
                rng = philox.generator((*place, "after"))
                if (own := state.algorithm.own_loss(fake, rng)) is not None:
                    self.descend("algorithm", own, metrics, "critic")
                again = state.algorithm.teacher_forcing(state.generator, real.to(self.device), rng)
                if again is not None:
                    self.descend("generator", again, metrics, "teacher_forcing")
            self.publish()

    def _discriminate_all(self, path: philox.Path, metrics: StepMetrics) -> None:
        """The discriminator phases of a step."""
        algorithm, done, few = self.state.algorithm, self.state.done, self.config.algorithm.d_sequences
        for d in range(algorithm.d_phases(done) if self.trains_discriminator else 0):
            place = (*path, "discriminator", d)
            real = self.train if few is None else self._draw_real((*place, "positives"), few)
            epochs = self.config.algorithm.d_epochs
            self._discriminate(place, metrics, epochs, real, algorithm.negatives(done))

    def _discriminate(
        self, path: philox.Path, metrics: StepMetrics, epochs: int, positives: Sequences, spec: RolloutSpec
    ) -> None:
        """k epochs over the positives and as many fresh negatives; half of each minibatch is real."""
        state, half = self.state, self.config.algorithm.d_batch or max(1, self.config.batch_size // 2)
        with metrics.timed("time/negatives"):
            wanted = Request(len(positives), positives.source, positives if spec.clamp else None)
            fakes = self.pool.collect(spec, wanted, (*path, "negatives")).sequences
            if spec.drawn:  # the latent z of tokens is the generator's own affair
                if positives.source is not None:  # where the sources are; minibatches are moved
                    fakes = fakes.to(positives.tokens.device)
                fakes = replace(fakes, source=positives.source)
            if self.searched is not None and self.state.stage_name == "pretrain_discriminator":
                fakes = self.searched().some(state.generator, fakes)
            metrics.saw("negatives", *drawn(fakes))
        state.discriminator.train()
        state.generator.eval()
        with metrics.timed("time/d_update"):
            for epoch in range(epochs):
                pairs = zip(
                    self._minibatches(positives, half, (*path, epoch, "real")),
                    self._minibatches(fakes, half, (*path, epoch, "fake")),
                    strict=True,
                )
                for number, (real, fake) in enumerate(pairs):
                    place = (*path, epoch, number)
                    with philox.global_random(place):
                        self.descend(
                            "discriminator",
                            self.discriminator_loss(fake, real, philox.generator((*place, "loss"))),
                            metrics,
                        )
                    state.algorithm.constrain(state.discriminator)

    def discriminator_loss(self, fake: Sequences, real: Sequences, rng: torch.Generator) -> Loss:
        """Of one minibatch, with products as ``learning`` says."""
        state = self.state
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.learning == "bf16"):
            return state.algorithm.discriminator_loss(state.generator, state.discriminator, fake, real, rng)

    def descend(self, name: str, loss: Loss, metrics: StepMetrics, what: str | None = None) -> None:
        """One step of an optimiser; the gradient reaches the parameters that it owns and no others.

        Args:
            what: the name under which the loss is told; None: that of the network.
        """
        norms, network = _TOLD.get(name, ("g/grad_norm", "generator"))
        limit = self.config.algorithm.max_grad_norm if network == "generator" else None
        place = f"step {self.state.step + 1}, {self.state.stage_name}"
        norm = descend(self.state.optimizers[name], loss.value, limit, network, place)
        told = {f"loss/{what or network}": loss.value.detach(), **loss.metrics}
        metrics.add(told if what == "teacher_forcing" else {**told, norms: norm})

    def _set_rate(self, optimizer: str, rate: float) -> None:
        for group in self.state.optimizers[optimizer].param_groups:
            group["lr"] = rate

    def _draw_real(self, path: philox.Path, count: int) -> Sequences:
        """So many real sequences, none twice; all of them in some order where there are no more."""
        return self.train.select(torch.randperm(len(self.train), generator=philox.generator(path))[:count])

    def _minibatches(self, sequences: Sequences, size: int, path: philox.Path) -> Iterator[Sequences]:
        """All sequences once, in an order that belongs to the path; the last batch may be smaller."""
        order = torch.randperm(len(sequences), generator=philox.generator(path)).to(sequences.tokens.device)
        for first in range(0, len(order), size):
            yield sequences.select(order[first : first + size]).to(self.device)

    def has_discriminator(self) -> bool:
        """Whether there is a discriminator that has learned something by now."""
        return self.trains_discriminator and self.state.stage_name != "pretrain_generator"

    def change_pool(self, pool: Pool) -> None:
        """Has rollouts made by another pool from now on."""
        self.pool, self._published = pool, False

    def publish(self) -> None:
        """Hands the networks as they are to the pool, if what it is asked for depends on them."""
        state = self.state
        if state.algorithm.relaxes and self._published:
            return
        self.pool.publish(state.generator, state.discriminator, state.policy)
        self._published = True


def _blend(policy: torch.nn.Module, generator: torch.nn.Module, delay: float) -> None:
    """policy <- delay * policy + (1 - delay) * generator, buffers copied."""
    with torch.no_grad():
        for old, new in zip(policy.parameters(), generator.parameters(), strict=True):
            old.mul_(delay).add_(new, alpha=1 - delay)
        for held, current in zip(policy.buffers(), generator.buffers(), strict=True):
            held.copy_(current)
