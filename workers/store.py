"""What a pool has put into a shared object store: each content once, the last two of each kind.

Knows no store: it is given the function that puts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import nn

from algorithms.bleu import References
from workers.messages import Wanted
from workers.weights import NETWORKS, Publications, Tag, digest_of

Parcels: TypeAlias = Mapping[str, Sequence[Any]]
"""Where to fetch what a unit wants: name -> [reference]. In a list, or Ray would send the content itself."""


class Store:
    """Networks and references as they are now, and where they lie.

    Attributes:
        edition: how often everything was put again; a loss seen with an older one is dealt with already.
    """

    def __init__(self, put: Callable[[object], Any]) -> None:
        self.edition = 0
        self._put = put
        self._publications = Publications()
        self._references: tuple[str, References] | None = None
        # two, since a call of a request that was given up may still ask for the older one
        self._kept: dict[str, deque[tuple[str, Any]]] = {
            n: deque(maxlen=2) for n in (*NETWORKS, "references")
        }

    def publish(
        self, generator: nn.Module, discriminator: nn.Module, policy: nn.Module | None
    ) -> tuple[dict[str, Tag], int]:
        """Puts what is new; the policy is the generator where None.

        Returns:
            The current tag of each network, and the bytes that were put.
        """
        size = 0
        self._publications.update(generator, discriminator, policy)
        for network, weights in self._publications.latest.items():
            kept = self._kept[network]  # asked, since an earlier put may have failed
            if (not kept or kept[-1][0] != weights.digest) and self._keep(network, weights.digest, weights):
                size += len(weights.buffer)
        return self._tags(), size

    def refer(self, references: References | None) -> None:
        """Puts references, on the CPU, where their content is new."""
        if references is None:
            self._references = None
        elif self._references is None or references is not self._references[1]:
            digest = digest_of(references)
            self._keep("references", digest, references)
            self._references = (digest, references)

    def wanted(self) -> Wanted:
        """What a unit is to be computed with.

        Raises:
            ValueError: before the first publication.
        """
        tags = self._tags()
        if not tags:
            raise ValueError("nothing to sample from: publish networks before collecting rollouts")
        return Wanted(**tags, references=self._references[0] if self._references else None)

    def parcels(self) -> Parcels:
        """Where each thing lies that a unit may want now."""
        names = NETWORKS if self._references is None else (*NETWORKS, "references")
        return {name: [self._kept[name][-1][1]] for name in names}

    def put_again(self) -> None:
        """Everything current anew, for when the store lost it."""
        self.edition += 1
        for kept in self._kept.values():
            kept.clear()
        for network, weights in self._publications.latest.items():
            self._keep(network, weights.digest, weights)
        if self._references is not None:
            self._keep("references", *self._references)

    def clear(self) -> None:
        """Lets go of everything that was put."""
        for kept in self._kept.values():
            kept.clear()

    def _keep(self, name: str, digest: str, content: object) -> bool:
        """Makes a content the last of its kind; puts it unless it is there. Whether it was put."""
        known = [ref for kept in self._kept.values() for held, ref in kept if held == digest]
        self._kept[name].append((digest, known[0] if known else self._put(content)))
        return not known

    def _tags(self) -> dict[str, Tag]:
        return {network: weights.tag for network, weights in self._publications.latest.items()}
