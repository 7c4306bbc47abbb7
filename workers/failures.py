"""What can go wrong between a pool and its workers, as types: each says by whose doing.

``MachinesFailed`` is nobody's defect, and what was committed can be resumed; ``UnitFailed`` is the data's or
the code's; ``WrongWeights`` would make results silently wrong. All of them carry one message and survive
being sent between processes.
"""

from __future__ import annotations


class PoolFailure(Exception):
    """A pool cannot deliver. The message says what was got, what was wanted and what to do."""


class MachinesFailed(PoolFailure):
    """Processes, nodes or the cluster do not do what they should: the same work may succeed elsewhere."""


class WorkersLost(MachinesFailed):
    """Too few workers are left, or none has answered in time."""


class WeightsLost(MachinesFailed):
    """What was published could not be fetched, although it was put again; the cluster's store is at fault."""


class UnitLost(MachinesFailed):
    """A unit was lost with its workers, or not finished in time, too often: it needs more than they have."""


class PoolLost(MachinesFailed):
    """The cluster does not serve who asks for rollouts: its store, its disk or a daemon failed."""


class UnitFailed(PoolFailure):
    """A unit raises an exception wherever it is tried: its data or its code is at fault, not the machines."""


class WrongWeights(PoolFailure):
    """A network does not hold what was published; never retried, since a result would be silently wrong.

    Attributes:
        network: generator, policy or discriminator.
        version: the published version that was to be loaded.
    """

    def __init__(self, message: str, *, network: str = "", version: int = 0) -> None:
        super().__init__(message)
        self.network, self.version = network, version


def brief(problem: object) -> str:
    """What went wrong in a line: the first one of its message, and the last, where a traceback ends."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return f"{type(problem).__name__}: {' ... '.join(dict.fromkeys([*lines[:1], *lines[-1:]]))}"
