"""Where rollouts come from, whoever makes them: the protocol, the cutting into units, the merging.

A request is cut into units of constant size; units are computed anywhere, in any order, and merged in
theirs. Since every draw has an address, the merged result depends on none of that.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import torch

from algorithms.bleu import References
from algorithms.models.base import Discriminator, Generator, Scorer
from algorithms.types import Rollouts, RolloutSpec, Sequences, Source, join_sequences
from workers.ledger import Ledger
from workers.messages import DeviceClass, device_class
from workers.philox import Path
from workers.prepared import Prepared
from workers.process import alone, clock
from workers.rollout import Block, Networks, rollout
from workers.weights import NETWORKS, Publications, Tag, load


@dataclass(frozen=True, slots=True)
class Request:
    """How many sequences, and under which conditions. Made by the trainer, cut by a pool.

    Attributes:
        count: sequences wanted.
        source: [count] conditions, or None.
        real: [count] real sequences whose leading tokens a spec may copy, or None.
        temperature: divides the logits of the sampled sequences.
    """

    count: int
    source: Source | None = None
    real: Sequences | None = None
    temperature: float = 1.0


class Pool(Protocol):
    """Two verbs: publish what to sample from, collect what was sampled."""

    @property
    def exact(self) -> bool:
        """Whether everyone who computes units computes equal bits, as far as is known; see ``greet``."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class of device that counts for ``exact``, in words; one where that is true."""
        ...

    @property
    def fast_bf16(self) -> bool:
        """Whether everyone who computes units multiplies bfloat16 fast, as far as is known."""
        ...

    def greet(self) -> None:
        """Waits, for a bounded time, until everyone who computes units has told its class of device.

        Raises:
            MachinesFailed: where too few have; see ``workers.failures``.
        """
        ...

    def publish(self, generator: Generator, discriminator: Discriminator, policy: Generator | None) -> None:
        """Replaces the networks; ``policy`` completes prefixes and is the generator where None.

        The pool counts the versions of each network: a new one where the content is new.
        """
        ...

    def refer(self, references: References | None) -> None:
        """Replaces the real sequences that scores compare with."""
        ...

    def collect(self, spec: RolloutSpec, request: Request, path: Path) -> Rollouts:
        """The rollouts of a request, merged in the order of its sequences."""
        ...

    def report(self) -> dict[str, float]:
        """What happened since the last report, by metric name; see ``workers.ledger``."""
        ...

    def close(self) -> None:
        """Ends whatever runs."""
        ...


@runtime_checkable
class Staffed(Protocol):
    """A pool whose workers come and go."""

    def gone(self) -> list[int]:
        """Places, in the order in which they were given, of workers that will never answer again."""
        ...

    def add(self, worker: Any) -> None:
        """One worker more, between two requests."""
        ...


def blocks(request: Request, samples: int, unit: int) -> list[Block]:
    """The units of a request with so many samples per prompt, in order."""
    if samples > 1:
        prompts = torch.arange(request.count).repeat_interleave(samples)
        request = Request(
            request.count * samples,
            None if request.source is None else request.source.select(prompts),
            None if request.real is None else request.real.select(prompts),
            request.temperature,
        )
    pieces = []
    for first in range(0, request.count, unit):
        rows = slice(first, min(first + unit, request.count))
        source = None if request.source is None else request.source.select(rows)
        real = None if request.real is None else request.real.select(rows)
        pieces.append(Block(first, rows.stop - first, source, real))
    return pieces


def merge(parts: Sequence[Rollouts]) -> Rollouts:
    """One rollout from those of consecutive units, in the order given."""
    return Rollouts(
        join_sequences([part.sequences for part in parts]),
        torch.cat([part.log_prob for part in parts]),
        torch.cat([part.scores for part in parts]),
        parts[0].clamp,
    )


class InProcessPool:
    """Units side by side in threads of this process, one CPU thread each; torch releases the lock.

    Its networks live on the device of those that it is given.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        *,
        threads: int,
        unit: int,
        sample_unit: int,
        memory: int,
        table_bytes: int = 0,
    ) -> None:
        """
        Args:
            generator, discriminator: what to copy; the pool never touches the learner's own.
            threads: units that run at once.
            unit: sequences per unit where prefixes are completed.
            sample_unit: sequences per unit where they are only sampled.
            memory: bytes for the completions of one unit.
            table_bytes: for what a scorer works out beforehand.
        """
        self._unit, self._sample_unit, self._memory = unit, sample_unit, memory
        copies = (copy.deepcopy(generator), copy.deepcopy(generator), copy.deepcopy(discriminator))
        self._networks = Networks(*copies).eval()
        self._prepared = Prepared(self._networks, table_bytes)
        self._device = next(generator.parameters()).device
        self._references: References | None = None
        self._publications = Publications()
        self._tags = {network: Tag(0, "") for network in NETWORKS}  # until something is published
        self._ledger = Ledger(threads)
        self._ledger.set_alive(threads)
        self._executor = ThreadPoolExecutor(
            threads, "rollout", initializer=torch.set_num_threads, initargs=(1,)
        )
        # every thread runs its initializer now, and not at the side of the learner later
        with alone():
            gate = threading.Barrier(threads + 1)
            waiting = [self._executor.submit(gate.wait) for _ in range(threads)]
            gate.wait()
            for task in waiting:
                task.result()

    @property
    def exact(self) -> bool:
        return True

    @property
    def classes(self) -> tuple[str, ...]:
        return (str(self._class()),)

    @property
    def fast_bf16(self) -> bool:
        return self._class().fast_bf16

    def _class(self) -> DeviceClass:
        return device_class(self._device, next(self._networks.generator.parameters()).dtype, 1)

    def greet(self) -> None:
        """Threads need not be asked."""

    def publish(self, generator: Generator, discriminator: Discriminator, policy: Generator | None) -> None:
        started, size = time.perf_counter(), 0
        for weights in self._publications.update(generator, discriminator, policy):
            load(getattr(self._networks, weights.network), weights)
            self._prepared.changed(weights.network)
            size += len(weights.buffer)
        self._tags = {network: weights.tag for network, weights in self._publications.latest.items()}
        self._ledger.published(time.perf_counter() - started, self._tags, size)

    def refer(self, references: References | None) -> None:
        self._references = references

    def collect(self, spec: RolloutSpec, request: Request, path: Path) -> Rollouts:
        unit = self._unit if spec.completions else self._sample_unit
        work = blocks(request, spec.samples, unit)
        with self._ledger.collecting(), alone():
            networks = self._prepared.networks(shared=False)
            scorer = self._prepared.scorer(self._executor.map) if spec.scores else None
            tasks = [
                self._executor.submit(self._one, networks, scorer, spec, block, path, request)
                for block in work
            ]
            try:
                parts = []
                for task in tasks:
                    part, seconds, used = task.result()
                    self._ledger.unit(seconds, 0.0, used)
                    parts.append(part)
                return merge(parts)
            finally:
                for task in tasks:
                    task.cancel()

    def first_unit(self, spec: RolloutSpec, request: Request, path: Path) -> Rollouts:
        """One unit of a request, in the thread that asks: for whoever measures what one takes."""
        block = blocks(request, spec.samples, self._unit if spec.completions else self._sample_unit)[0]
        with alone():
            scorer = self._prepared.scorer() if spec.scores else None
            return self._one(self._prepared.networks(shared=False), scorer, spec, block, path, request)[0]

    def report(self) -> dict[str, float]:
        return self._ledger.report()

    def _one(
        self,
        networks: Networks,
        scorer: Scorer | None,
        spec: RolloutSpec,
        block: Block,
        path: Path,
        request: Request,
    ) -> tuple[Rollouts, float, dict[str, Tag]]:
        """A unit, its seconds, and the weights that it was computed with."""
        started, used = clock(self._device), self._tags
        made = rollout(
            networks,
            spec,
            block.to(self._device),
            path,
            references=self._references,
            scorer=scorer,
            memory=self._memory,
            temperature=request.temperature,
        )
        return made, clock(self._device) - started, used

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
