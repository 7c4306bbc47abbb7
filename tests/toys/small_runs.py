"""Settings of runs that take seconds; what a test changes comes after them."""

from __future__ import annotations

from orchestrator.run import Run

TINY = """
    data.oracle_vocabulary=20 data.oracle_length=6 data.oracle_hidden=8 data.sequences=64
    data.held_out=64 generator.embedding=8 generator.hidden=8 discriminator.filters=[[1,4],[2,4]]
    discriminator.embedding=6 pretrain.generator_epochs=2 pretrain.discriminator_rounds=1
    pretrain.discriminator_epochs=1 algorithm.completions=2 algorithm.d_steps=1 algorithm.d_epochs=1
    batch_size=16 evaluation.samples=64 evaluation.diversity_samples=32 learner.threads=1
""".split()
"""One thread: several, which wait for one another, are slow beside other busy processes."""

UNITS = """
    data.oracle_vocabulary=40 data.oracle_length=8 data.oracle_hidden=8 data.sequences=96
    data.held_out=64 generator.embedding=8 generator.hidden=8 discriminator.filters=[[1,4],[2,4],[3,5]]
    discriminator.embedding=6 pretrain.generator_epochs=2 pretrain.discriminator_rounds=1
    pretrain.discriminator_epochs=1 steps=3 algorithm.completions=3 algorithm.d_steps=1
    algorithm.d_epochs=1 batch_size=32 evaluation.samples=64 evaluation.every=1
    evaluation.pretrain_every=2 evaluation.diversity_samples=32 rollout.unit=4 rollout.sample_unit=32
    checkpoint.every_seconds=0 controls=none tracking.enabled=false learner.threads=1
""".split()
"""Each step is cut into several units; every step is committed and evaluated."""


def finish(run: Run) -> dict:
    """Trains to the end and gives the summary."""
    for _ in run:
        pass
    return run.summary
