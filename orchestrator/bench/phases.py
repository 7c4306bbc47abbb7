"""Every phase of a step timed apart, beside the serial baseline and the machine's limit.

Credits, and the completions that they begin with, are measured in turn, each with weights that the pool has
not seen, as after a step; scoring is what credits take beyond completions.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from algorithms.types import RolloutSpec
from orchestrator.bench import flops
from orchestrator.bench.baseline import Baseline
from orchestrator.bench.machine import Machine
from orchestrator.bench.names import chosen
from orchestrator.bench.timing import Action, in_turn, nothing, peak_bytes, repeated, seconds
from orchestrator.bench.work import Work

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one phase; None where there is nothing to say.

    Attributes:
        name: one of ``orchestrator.bench.names``.
        seconds: the median of several times, after one that did not count.
        serial_seconds: the same work by the serial baseline, once where it takes long.
        flops: floating-point operations of the definition, see ``orchestrator.bench.flops``.
        fraction_of_limit: the seconds that these would take at the measured rates of products, as a share of
            those that it took.
        peak_bytes: the most held at a time of what is allocated through torch.
        tokens_per_s, sequences_per_s: tokens drawn or trained on; sequences finished, scored or trained on.
        note: what else a reader should know.
    """

    name: str
    seconds: float | None = None
    serial_seconds: float | None = None
    flops: int | None = None
    fraction_of_limit: float | None = None
    peak_bytes: int | None = None
    tokens_per_s: float | None = None
    sequences_per_s: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Load:
    """How much work a phase is: operations, of them in bfloat16; tokens and sequences."""

    flops: int | None = None
    in_bf16: int = 0
    tokens: int | None = None
    sequences: int | None = None


def measure(work: Work, machine: Machine, only: Sequence[str] = (), say: Say = lambda _: None) -> list[Row]:
    """The rows of the chosen phases, in the order of the table."""
    return list(_Measurement(work, machine, say).rows(chosen(only)))


class _Measurement:
    def __init__(self, work: Work, machine: Machine, say: Say) -> None:
        self._work, self._machine, self._say = work, machine, say
        self._baseline = Baseline(work, say)
        self._credits: tuple[list[float], list[float]] | None = None

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        phases = {
            "credits_fp32": self._credits_fp32,
            "credits_bf16": self._credits_bf16,
            "completions": self._completions,
            "scoring": self._scoring,
            "generator_step": self._generator_step,
            "discriminator_step": self._discriminator_step,
            "discriminator_step_bf16": self._discriminator_step_bf16,
            "mle_step": self._mle_step,
            "sample_negatives": self._sample_negatives,
            "weights_publish": self._weights_publish,
            "weights_load": self._weights_load,
            "checkpoint": self._checkpoint,
        }
        for name in names:
            self._say(f"measuring {name} ...")
            yield phases[name]()

    def _credits_fp32(self) -> Row:
        row = self._row("credits_fp32", statistics.median(self._both()[0]), self._credit_load())
        sizes, once = self._work.sizes, flops.unshared_convolutions(self._work.sizes)
        fewer = (row.flops or 0) - flops.convolutions(sizes, sizes.completions + sizes.B) + once
        note = f"{fewer / 1e9:.3g} GFLOP if windows inside a shared prefix are counted once"
        return dataclasses.replace(
            row,
            serial_seconds=self._baseline.completions() + self._baseline.scoring(),
            peak_bytes=self._peak_of_rollouts(self._work.spec),
            note=f"{note}; {self._of_units()}",
        )

    def _credits_bf16(self) -> Row:
        spec, machine = dataclasses.replace(self._work.spec, precision="bf16"), self._machine
        if not machine.has_fast_bf16:
            return self._no_bf16("credits_bf16")
        work = self._work
        times = repeated(lambda: work.collect(spec), work.device, work.learn_and_publish)
        load = dataclasses.replace(self._credit_load(), in_bf16=flops.scoring(work.sizes))
        return dataclasses.replace(
            self._row("credits_bf16", statistics.median(times), load),
            serial_seconds=self._baseline.completions() + self._baseline.scoring(),
            peak_bytes=self._peak_of_rollouts(spec),
            note=f"scores in bfloat16, the baseline in float32; {self._of_units()}",
        )

    def _completions(self) -> Row:
        sizes = self._work.sizes
        load = Load(
            flops.completions(sizes), 0, sizes.completed_tokens + sizes.sampled_tokens, sizes.completions
        )
        return dataclasses.replace(
            self._row("completions", statistics.median(self._both()[1]), load),
            serial_seconds=self._baseline.completions(),
            peak_bytes=self._peak_of_rollouts(_unscored(self._work.spec)),
            note=f"sampling the sequences included; {self._of_units()}",
        )

    def _scoring(self) -> Row:
        sizes, (whole, part) = self._work.sizes, self._both()
        took = statistics.median(a - b for a, b in zip(whole, part, strict=True))
        load = Load(flops.scoring(sizes), 0, None, sizes.completions + sizes.B)
        note = "what credits_fp32 takes beyond completions, measured in pairs; its memory is in credits_fp32"
        if took <= 0:
            return Row("scoring", flops=load.flops, note=f"too short to be told from chance; {note}")
        row = self._row("scoring", took, load)
        return dataclasses.replace(row, serial_seconds=self._baseline.scoring(), note=note)

    def _generator_step(self) -> Row:
        work, load = self._work, self._trained_tokens()
        work.fake()
        return self._compared("generator_step", work.generator_step, load, self._baseline.generator_step())

    def _discriminator_step(self) -> Row:
        work = self._work
        rows = 2 * max(1, work.sizes.B // 2)
        load = Load(flops.discriminator_step(work.sizes), sequences=rows)
        work.fake()
        return self._compared(
            "discriminator_step", work.discriminator_step, load, self._baseline.discriminator_step()
        )

    def _discriminator_step_bf16(self) -> Row:
        name, work = "discriminator_step_bf16", self._work
        if not self._machine.has_fast_bf16:
            return self._no_bf16(name)
        operations = flops.discriminator_step(work.sizes)
        load = Load(operations, in_bf16=operations, sequences=2 * max(1, work.sizes.B // 2))
        work.fake()
        row = self._compared(name, work.rounded_discriminator_step, load, self._baseline.discriminator_step())
        return dataclasses.replace(row, note="weights, sums and Adam in float32; the baseline in float32")

    def _mle_step(self) -> Row:
        return self._compared(
            "mle_step", self._work.mle_step, self._trained_tokens(), self._baseline.likelihood_step()
        )

    def _sample_negatives(self) -> Row:
        work, sizes = self._work, self._work.sizes
        load = Load(flops.negatives(sizes), 0, sizes.negatives * sizes.T, sizes.negatives)
        times = repeated(work.sample_negatives, work.device)
        peak = peak_bytes(lambda: work.first_unit(RolloutSpec(scores=()), sizes.negatives), work.device)
        return dataclasses.replace(
            self._row("sample_negatives", statistics.median(times), load),
            serial_seconds=self._baseline.negatives(),
            peak_bytes=peak,
            note=f"{sizes.negatives:,} sequences; {self._of_units()}",
        )

    def _weights_publish(self) -> Row:
        row = self._timed("weights_publish", self._work.pack_weights, prepare=self._work.learn_a_little)
        return dataclasses.replace(row, note="flat buffers and their hashes; an object store comes on top")

    def _weights_load(self) -> Row:
        self._work.pack_weights()
        row = self._timed("weights_load", self._work.load_weights)
        return dataclasses.replace(row, note="generator and discriminator, hashed again afterwards")

    def _checkpoint(self) -> Row:
        work = self._work
        for step in (work.mle_step, work.generator_step, work.discriminator_step):  # optimisers have moments
            step()
        with tempfile.TemporaryDirectory(prefix="advseq-bench-") as folder:
            row = self._timed("checkpoint", lambda: work.save(Path(folder)))
        size = sum(tensor.nbytes for tensor in work.state.tensors().values())
        return dataclasses.replace(row, note=f"{size / 2**20:.0f} MiB, synced, in a temporary folder")

    def _no_bf16(self, name: str) -> Row:
        slow, fast = (rate.flops_per_s / 1e9 for rate in (self._machine.bf16, self._machine.fp32))
        rates = f"products in bfloat16 at {slow:.3g} GFLOP/s, in float32 at {fast:.3g}"
        return Row(name, note=f"not measured: nothing is to be gained here, {rates}")

    def _timed(self, name: str, action: Action, load: Load | None = None, prepare: Action = nothing) -> Row:
        """The row of something that this thread does."""
        times = repeated(action, self._work.device, prepare)
        prepare()
        row = self._row(name, statistics.median(times), load or Load())
        return dataclasses.replace(row, peak_bytes=peak_bytes(action, self._work.device))

    def _compared(self, name: str, action: Action, load: Load, serial: Action) -> Row:
        """The same, in turn with the baseline."""
        times, others = in_turn(action, serial, self._work.device)
        row = self._row(name, statistics.median(times), load)
        return dataclasses.replace(
            row,
            serial_seconds=statistics.median(others),
            peak_bytes=peak_bytes(action, self._work.device),
        )

    def _row(self, name: str, took: float, load: Load) -> Row:
        fraction = None
        if load.flops is not None:
            machine = self._machine
            at_limit = (load.flops - load.in_bf16) / machine.fp32.flops_per_s
            fraction = (at_limit + load.in_bf16 / machine.bf16.flops_per_s) / took
        tokens, sequences = (n and n / took for n in (load.tokens, load.sequences))
        return Row(name, took, None, load.flops, fraction, None, tokens, sequences)

    def _credit_load(self) -> Load:
        sizes = self._work.sizes
        return Load(
            flops.completions(sizes) + flops.scoring(sizes),
            0,
            sizes.completed_tokens + sizes.sampled_tokens,
            sizes.completions + sizes.B,
        )

    def _trained_tokens(self) -> Load:
        sizes = self._work.sizes
        return Load(flops.generator_step(sizes), 0, sizes.sampled_tokens, sizes.B)

    def _both(self) -> tuple[list[float], list[float]]:
        """Seconds of credits and of completions alone, in pairs."""
        if self._credits is None:
            work, parts = self._work, _unscored(self._work.spec)
            alone: list[float] = []

            def and_alone() -> None:
                work.learn_and_publish()
                alone.append(seconds(lambda: work.collect(parts), work.device))
                work.learn_and_publish()

            whole = repeated(lambda: work.collect(work.spec), work.device, and_alone)
            self._credits = whole, alone[1:]
        return self._credits

    def _peak_of_rollouts(self, spec: RolloutSpec) -> int:
        work = self._work
        work.learn_and_publish()
        return peak_bytes(lambda: work.first_unit(spec, work.sizes.B), work.device)

    def _of_units(self) -> str:
        threads = self._work.config.learner.threads
        return f"memory of one unit at a time, of {threads} side by side"


def _unscored(spec: RolloutSpec) -> RolloutSpec:
    return dataclasses.replace(spec, scores=())
