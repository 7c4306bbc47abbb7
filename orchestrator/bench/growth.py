"""How the cost of one batch of credits grows, with each size by itself and with the number of workers.

Each series is a picture with both axes logarithmic, on which a power is a straight line; the exponent that
fits best stands in its title. The numbers lie beside the pictures, in ``growth.json``.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator.bench.scaling import sleep_through
from orchestrator.bench.timing import repeated
from orchestrator.bench.work import Work, reference
from orchestrator.figures import new_figure, save_figure
from orchestrator.needs import device_here
from orchestrator.processes import explained
from workers.cluster import start_cluster

KEYS: Final = {
    "B": "batch_size",
    "T": "data.oracle_length",
    "N": "algorithm.completions",
    "V": "data.oracle_vocabulary",
}
"""The setting behind each size."""
BASE: Final = {"B": 16, "T": 20, "N": 2, "V": 2000}
"""The sizes that stand while another one grows: small, so that the whole takes minutes on two cores."""
SERIES: Final = {
    "B": (16, 32, 64, 128),
    "T": (20, 28, 40, 56),  # from 20 on the discriminator has all its filters
    "N": (2, 4, 8, 16),
    "V": (1000, 2000, 4000, 8000),
}
WORKERS: Final = (8, 32, 128, 512)
UNITS, UNIT_S = 512, 0.25
"""The work that simulated workers share, and what each unit takes."""

_QUICK_SERIES: Final = {"B": (16, 32), "T": (6, 8), "N": (2, 4), "V": (50, 100)}
_MEANINGS: Final = {
    "B": "sequences in a batch, B",
    "T": "length of a sequence, T",
    "N": "completions of a prefix, N",
    "V": "symbols, V",
    "workers": "simulated workers",
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Series:
    """One picture.

    Attributes:
        over: what grows.
        sizes, seconds: the points.
        about: what does not grow, in words.
    """

    over: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    about: str

    @property
    def exponent(self) -> float:
        """Of the power that fits best, by least squares of the logarithms."""
        x, y = ([math.log(value) for value in values] for values in (self.sizes, self.seconds))
        return statistics.linear_regression(x, y).slope

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "over": self.over,
            "sizes": list(self.sizes),
            "seconds": list(self.seconds),
            "exponent": self.exponent,
            "about": self.about,
        }


def measure_growth(folder: Path, *, quick: bool = False, say: Say = lambda _: None) -> dict[str, Any]:
    """Measures all series, draws them into the folder, and says what was found and drawn; fit for JSON."""
    series = [credits_over(over, quick=quick, say=say) for over in KEYS]
    series.append(workers_over((2, 4) if quick else WORKERS, quick=quick, say=say))
    pictures = [str(draw(one, folder / f"growth_{one.over}.png")) for one in series]
    found = {"series": [one.as_dict() for one in series], "pictures": pictures}
    (folder / "growth.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def credits_over(over: str, *, quick: bool = False, say: Say = lambda _: None) -> Series:
    """Seconds of one batch of credits while one size grows."""
    sizes = (_QUICK_SERIES if quick else SERIES)[over]
    base = {} if quick else BASE
    took = []
    for size in sizes:
        say(f"measuring credits with {over} = {size:,} ...")
        changes = [f"{KEYS[name]}={value}" for name, value in {**base, over: size}.items()]
        # none of these sequences is learned from
        config = reference(quick, [*changes, "data.sequences=2"])
        with explained():
            device = device_here(config)
        with Work(config, device) as work:
            times = repeated(
                lambda work=work: work.collect(work.spec),  # type: ignore[misc]
                work.device,
                work.learn_and_publish,
                at_most=7,
            )
        took.append(statistics.median(times))
    others = ", ".join(f"{name} = {value:,}" for name, value in base.items() if name != over)
    return Series(over, sizes, tuple(took), others or "quick sizes")


def workers_over(counts: Sequence[int], *, quick: bool = False, say: Say = lambda _: None) -> Series:
    """Seconds of the same work by ever more simulated workers."""
    units, unit_s = (8, 0.02) if quick else (UNITS, UNIT_S)
    config = reference(True, ["rollout.unit=8"]) if quick else reference()
    with explained(), start_cluster("local", needs=[]) as cluster:
        took = [
            sleep_through(config, cluster, count, unit_s, units, own=0, say=say).seconds for count in counts
        ]
    return Series("workers", tuple(counts), tuple(took), f"{units} units that sleep {unit_s:g} s each")


def draw(series: Series, to: Path) -> Path:
    """The points, and the power that fits them best."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator

    figure = new_figure(6.4, 4.6)
    axes = figure.subplots()
    slope = series.exponent
    middle = [statistics.fmean(map(math.log, values)) for values in (series.sizes, series.seconds)]
    fitted = [math.exp(middle[1] + slope * (math.log(size) - middle[0])) for size in series.sizes]
    axes.loglog(series.sizes, fitted, color="#666666", linewidth=1.2)
    axes.loglog(series.sizes, series.seconds, "o", color="#0072B2", markersize=7)
    axes.set_xticks(series.sizes, [f"{size:,}" for size in series.sizes])
    # numbers 1, 2, 5, of which the limits leave room for at least one
    axes.set_ylim(min(series.seconds) / 1.6, max(series.seconds) * 1.6)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.minorticks_off()
    axes.set_xlabel(f"{_MEANINGS[series.over]}\n({series.about})")
    axes.set_ylabel("seconds")
    axes.set_title(f"seconds grow as {series.over}^{slope:.2f}", loc="left", fontsize=11)
    return save_figure(figure, to)
