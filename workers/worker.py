"""A rollout worker: holds networks, takes units, returns arrays. It remembers nothing but weights.

Whoever runs it (a thread, an actor) hands it the weights that a task wants; they are checked by hash.
"""

from __future__ import annotations

import copy
import os
import platform
import time
import traceback
from dataclasses import replace

import torch
from torch import Tensor, nn

from algorithms.bleu import References
from workers.failures import PoolFailure
from workers.messages import (
    Description,
    Failed,
    Result,
    Task,
    Wanted,
    array_of,
    device_class,
    sequence_arrays,
)
from workers.prepared import Prepared
from workers.process import clock, settle
from workers.rollout import Networks, rollout
from workers.weights import NETWORKS, Tag, Weights, load


def skeleton(networks: Networks) -> Networks:
    """A copy with shapes but without values, on the CPU: what a worker elsewhere is built from, a few KB."""
    bare = copy.deepcopy(networks)
    for network in _modules(bare):
        for tensor in _tensors(network):
            held = tensor.data.cpu()
            # elements in another order may make other bits: such a tensor goes as it is
            tensor.data = held.new_zeros(()).expand(held.shape) if held.is_contiguous() else held
    return bare


class RolloutWorker:
    """Networks in evaluation mode on one device, and the weights that they hold.

    Attributes:
        node: the machine, as messages name it.
        device_class: what it computes on.
    """

    def __init__(
        self, networks: Networks, memory: int, device: torch.device | str = "cpu", table_bytes: int = 0
    ) -> None:
        """
        Args:
            networks: of the learner's shapes (``skeleton``), changed in place; their values are replaced
                before the first unit.
            memory: bytes for the completions of one unit.
            device: where units are computed.
            table_bytes: for what a scorer works out beforehand.
        """
        settle(1)
        self._device = torch.device(device)
        if networks.policy is networks.generator:  # each is loaded by itself
            networks = replace(networks, policy=copy.deepcopy(networks.generator))
        for network in _modules(networks):
            for tensor in _tensors(network):
                if tensor.untyped_storage().nbytes() < tensor.nbytes:  # a skeleton's
                    tensor.data = tensor.data.contiguous()
            network.to(self._device)
        self._networks = networks.eval()
        self._memory = memory
        self._prepared = Prepared(self._networks, table_bytes)
        dtype = next(networks.generator.parameters()).dtype
        self.device_class = device_class(self._device, dtype, torch.get_num_threads())
        self.node = platform.node()
        self._held: dict[str, Tag] = {}
        self._references: tuple[str, References] | None = None
        self._loading, self._rested = 0.0, time.perf_counter()

    def describe(self) -> Description:
        """Who this worker is; also the sign that it lives."""
        return Description(self.device_class, os.getpid(), self.node)

    def missing(self, wanted: Wanted) -> list[str]:
        """Names of what must be loaded before such a unit: networks, and ``references``."""
        tags = wanted.tags()
        missing = []
        for network, tag in tags.items():
            held = self._held.get(network)
            # a policy that equals the generator needs no copy of its own
            if (held is None or held.digest != tag.digest) and not (
                network == "policy" and tag.digest == wanted.generator.digest
            ):
                missing.append(network)
        held_references = self._references[0] if self._references else None
        if wanted.references is not None and wanted.references != held_references:
            missing.append("references")
        return missing

    def load(self, network: str, weights: Weights) -> None:
        """Replaces one network's content.

        Raises:
            WrongWeights: where the network does not hold the weights afterwards.
        """
        started = clock(self._device)
        self._held.pop(network, None)  # until it is whole, it holds nothing
        load(getattr(self._networks, network), weights)
        self._prepared.changed(network)
        self._held[network] = weights.tag
        self._loading += clock(self._device) - started

    def spent_fetching(self, seconds: float) -> None:
        """Counts time that went by before ``load``."""
        self._loading += seconds

    def refer(self, digest: str, references: References) -> None:
        """Replaces what scores compare with."""
        self._references = (digest, references)

    def take(self, name: str, content: Weights | References, wanted: Wanted) -> None:
        """Replaces one thing that was ``missing``.

        Raises:
            WrongWeights: as ``load`` does.
        """
        if isinstance(content, Weights):
            self.load(name, content)
        else:
            assert wanted.references is not None
            self.refer(wanted.references, content)

    def run(self, task: Task) -> Result:
        """One unit.

        Raises:
            ValueError: where weights that it wants were not loaded.
        """
        started = clock(self._device)
        wait, load_s = max(0.0, started - self._rested - self._loading), self._loading
        networks, used = self._choose(task.wanted)
        references = None
        if task.wanted.references is not None and self._references is not None:
            references = self._references[1]
        made = rollout(
            networks,
            task.spec,
            task.block(self._device),
            task.path,
            references=references,
            scorer=self._prepared.scorer() if task.spec.scores else None,
            memory=self._memory,
            temperature=task.temperature,
        )
        sequences = sequence_arrays(made.sequences)
        assert sequences is not None
        log_prob, scores = array_of(made.log_prob), array_of(made.scores)
        self._rested, self._loading = clock(self._device), 0.0
        return Result(
            sequences,
            log_prob,
            scores,
            made.clamp,
            used,
            self.device_class,
            self.node,
            os.getpid(),
            self._rested - started,
            load_s,
            wait,
        )

    def attempt(self, task: Task) -> Result | Failed:
        """One unit, its exceptions as data."""
        try:
            return self.run(task)
        except Exception as error:
            return self.failed(error)

    def failed(self, error: Exception) -> Failed:
        """An exception as data."""
        text = "".join(traceback.format_exception(error)).rstrip()
        self._rested, self._loading = time.perf_counter(), 0.0
        return Failed(error if isinstance(error, PoolFailure) else None, text, self.node, os.getpid())

    def _choose(self, wanted: Wanted) -> tuple[Networks, Wanted]:
        """The networks of a unit, and what they hold as it is known here."""
        missing = self.missing(wanted)
        if missing:
            raise ValueError(f"not loaded, although wanted: {', '.join(missing)}; load them before the unit")
        shared = wanted.policy.digest == wanted.generator.digest
        networks = self._prepared.networks(shared=shared)
        # equal content published again has a new number: the hash decides, the number follows it
        self._held |= {
            network: tag
            for network, tag in wanted.tags().items()
            if network in self._held and self._held[network].digest == tag.digest
        }
        held = self._held | ({"policy": wanted.policy} if shared else {})
        references = self._references[0] if wanted.references is not None and self._references else None
        return networks, Wanted(held["generator"], held["policy"], held["discriminator"], references)


def _modules(networks: Networks) -> list[nn.Module]:
    return [getattr(networks, network) for network in NETWORKS]


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
