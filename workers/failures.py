"""What can go wrong between a pool and its workers, as types: each says by whose doing.

All of them carry one message and survive being sent between processes.
"""

from __future__ import annotations


class PoolFailure(Exception):
    """A pool cannot deliver. The message says what was got, what was wanted and what to do."""


class WrongWeights(PoolFailure):
    """A network does not hold what was published; never retried, since a result would be silently wrong.

    Attributes:
        network: generator, policy or discriminator.
        version: the published version that was to be loaded.
    """

    def __init__(self, message: str, *, network: str = "", version: int = 0) -> None:
        super().__init__(message)
        self.network, self.version = network, version


class WeightsLost(PoolFailure):
    """What was published could not be fetched, although it was put again; the cluster's store is at fault."""


class UnitFailed(PoolFailure):
    """A unit fails wherever it is tried: its data or its code is at fault, not the machines."""


class WorkersLost(PoolFailure):
    """Too few workers are left, or none has answered in time; what was committed can be resumed."""
