"""Networks in the forms in which they sample and score fastest, brought up to date when next asked for."""

from __future__ import annotations

import torch

from algorithms.models.base import Each, Generator, Scorer
from workers.rollout import Networks


class Prepared:
    """The samplers and the scorer of networks whose weights change. Not for two threads at once."""

    def __init__(self, networks: Networks, table_bytes: int) -> None:
        """
        Args:
            networks: their weights are changed in place.
            table_bytes: what the scorer may take for what it works out beforehand.
        """
        self._networks, self._table_bytes = networks, table_bytes
        self._samplers: dict[str, Generator] = {}
        self._scorer: Scorer | None = None
        self._stale = True

    def changed(self, network: str) -> None:
        """A network has other weights now.

        Args:
            network: its name, one of ``weights.NETWORKS``.
        """
        if network == "discriminator":
            self._stale = True
        else:
            self._samplers.pop(network, None)

    def networks(self, *, shared: bool) -> Networks:
        """What rollouts are made with.

        Args:
            shared: whether the generator itself completes prefixes.
        """
        generator = self._sampler("generator")
        policy = generator if shared else self._sampler("policy")
        return Networks(generator, policy, self._networks.discriminator)

    def scorer(self, each: Each = map) -> Scorer:
        """For the discriminator's weights as they are; ``each`` as ``Scorer.refresh`` has it."""
        # whoever asks first may be in inference mode, whose tensors cannot be written again later
        with torch.inference_mode(False), torch.no_grad():
            if self._scorer is None:
                self._scorer = self._networks.discriminator.scorer(self._table_bytes)
            elif self._stale:
                self._scorer.refresh(each)
        self._stale = False
        return self._scorer

    def _sampler(self, network: str) -> Generator:
        if network not in self._samplers:
            with torch.inference_mode(False), torch.no_grad():
                self._samplers[network] = getattr(self._networks, network).sampler()
        return self._samplers[network]
