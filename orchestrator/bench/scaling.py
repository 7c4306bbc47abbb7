"""Rollouts by more than one process: what Ray costs beside this one, and how many workers one pool can feed.

Real workers compute the reference work. Simulated ones sleep over units, so that two cores can hold hundreds:
what is left is the controller's part, which is to dispatch, receive and merge. A few get processes of their
own; of many, hundreds share one, and the table says how many processes there are. All of them use this
machine's cores, which a cluster's workers would not: true efficiencies are higher.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from orchestrator.actors import rollout_workers
from orchestrator.bench.sleepers import Bed, Dormitory, Sleep, Sleeper
from orchestrator.bench.timing import seconds
from orchestrator.bench.work import Work
from orchestrator.config import RunConfig
from orchestrator.data import shape
from orchestrator.open_pool import open_pool
from orchestrator.processes import explained
from orchestrator.state import TrainState
from workers.cluster import Cluster, start_cluster
from workers.placement import Need
from workers.pool import Pool, Request

REAL: Final = (1, 2)
"""Real workers in each of the compared pools."""
ROUNDS: Final = 3
"""In which each pool is measured once; one more warms up."""
OWN_PROCESSES: Final = 8
"""Simulated workers that are still given a process each."""
IN_A_PROCESS: Final = 128
"""Simulated workers in one process beyond that."""
SIMULATED: Final = (8, 64, 512)
UNITS_EACH: Final = 4
"""Units for each simulated worker in one request."""
UNIT: Final = 8
"""Sequences in a unit."""
UNIT_S: Final = 0.5
"""For which a unit sleeps: of the order of a real one's time at the paper's sizes."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool on the reference work.

    Attributes:
        pool: which.
        seconds: the median time of publishing weights and collecting one batch.
        ratio: of these seconds to those of this process.
    """

    pool: str
    seconds: float
    ratio: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SimulatedRow:
    """One pool of workers that sleep.

    Attributes:
        workers, processes: how many, and in how many processes they live.
        unit_s, units: seconds that each unit sleeps, and how many there are.
        seconds: the time of the request.
        efficiency: the time that it would take if nothing but sleeping took time, as a share of that.
        controller_s_per_unit: processor time of this process, all its threads, for each unit.
    """

    workers: int
    processes: int
    unit_s: float
    units: int
    seconds: float
    efficiency: float
    controller_s_per_unit: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare_pools(work: Work, *, quick: bool = False, say: Say = lambda _: None) -> list[PoolRow]:
    """This process against pools of real workers, in turn; each time with weights that are new to them."""
    say(f"starting {max(REAL)} rollout workers ...")
    need = Need("rollout worker", max(REAL))
    with ExitStack() as stack:
        stack.enter_context(explained())
        cluster = stack.enter_context(start_cluster("local", needs=[need]))
        handles = cluster.ready(rollout_workers(work.config, work.data, cluster, need))
        pools: dict[str, Pool] = {"this process": work.pool}
        for count in REAL:
            pool = open_pool(work.config, work.state, "workers", handles[:count])
            stack.callback(pool.close)
            pool.greet()
            pools[need.named(count)] = pool
        say("comparing pools on the reference work ...")
        times: dict[str, list[float]] = {name: [] for name in pools}
        for number in range(1 + (1 if quick else ROUNDS)):
            for name, pool in pools.items():
                took = seconds(lambda pool=pool: _step(work, pool), work.device, work.learn_a_little)  # type: ignore[misc]
                if number:  # the first round warms up
                    times[name].append(took)
    medians = {name: statistics.median(took) for name, took in times.items()}
    base = next(iter(medians.values()))
    return [PoolRow(name, median, median / base) for name, median in medians.items()]


def _step(work: Work, pool: Pool) -> None:
    pool.publish(work.state.generator, work.state.discriminator, work.state.policy)
    pool.collect(work.spec, Request(work.config.batch_size), (work.config.seed, "bench", "pools"))


def simulate_workers(
    config: RunConfig,
    counts: Sequence[int] = SIMULATED,
    *,
    quick: bool = False,
    say: Say = lambda _: None,
) -> list[SimulatedRow]:
    """Pools of sleeping workers, each with ``UNITS_EACH`` units for every worker."""
    counts, unit_s = ((2, 4), 0.02) if quick else (tuple(counts), UNIT_S)
    own = 2 if quick else OWN_PROCESSES
    with explained(), start_cluster("local", needs=[]) as cluster:
        return [
            sleep_through(config, cluster, count, unit_s, UNITS_EACH * count, own=own, say=say)
            for count in counts
        ]


def sleep_through(
    config: RunConfig,
    cluster: Cluster,
    workers: int,
    unit_s: float,
    units: int,
    *,
    own: int = OWN_PROCESSES,
    say: Say = lambda _: None,
) -> SimulatedRow:
    """One request of so many units to so many workers that sleep.

    Args:
        own: as many workers have a process each; more share some.
    """
    config = config.model_copy(update={"rollout": config.rollout.model_copy(update={"unit": UNIT})})
    alphabet, length = shape(config.data)
    state = TrainState.fresh(config, alphabet, length)
    spec = state.algorithm.rollouts(0)
    sleep = Sleep(unit_s, length, spec.completions, len(spec.scores))
    say(f"simulating {workers} workers ...")
    with _asleep(cluster, sleep, workers, own) as (handles, processes):
        pool = open_pool(config, state, "workers", handles)
        try:
            pool.greet()
            pool.publish(state.generator, state.discriminator, state.policy)
            wanted = Request(UNIT * workers)
            pool.collect(spec, wanted, (config.seed, "bench", "warm"))  # one unit for each
            began, busy = time.perf_counter(), time.process_time()
            pool.collect(spec, Request(UNIT * units), (config.seed, "bench", "simulated"))
            took, busy = time.perf_counter() - began, time.process_time() - busy
        finally:
            pool.close()
    ideal = -(-units // workers) * unit_s
    return SimulatedRow(workers, processes, unit_s, units, took, ideal / took, busy / units)


@contextmanager
def _asleep(cluster: Cluster, sleep: Sleep, workers: int, own: int) -> Iterator[tuple[list[Any], int]]:
    """Handles of so many workers, and the number of their processes, which end afterwards."""
    processes = workers if workers <= own else -(-workers // IN_A_PROCESS)
    made = Sleeper if workers <= own else Dormitory
    # they sleep: no slot of the cluster is needed for that
    actors = cluster.create(made, sleep, need=Need("simulated worker", processes, cpus=0))
    try:
        if workers <= own:
            yield actors, processes
        else:
            yield [Bed(actors[n % processes], n) for n in range(workers)], processes
    finally:
        cluster.release(actors)
