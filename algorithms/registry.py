"""Every algorithm, by name. A new paper is one file and one line of each list here.

The union is a literal, so that pydantic dispatches on it, the type checker reads it and the command
line can list it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from algorithms.adversarial_dialogue import AdversarialDialogue
from algorithms.base import Algorithm
from algorithms.bgan import BGAN
from algorithms.maligan import MaliGAN
from algorithms.mle import MLE
from algorithms.pg_bleu import PGBLEU
from algorithms.scheduled_sampling import ScheduledSampling
from algorithms.seqgan import SeqGAN
from algorithms.wgan import WGAN
from algorithms.wgan_gp import WGANGP

ALGORITHMS: tuple[type[Algorithm], ...] = (
    SeqGAN,
    MLE,
    ScheduledSampling,
    PGBLEU,
    MaliGAN,
    BGAN,
    WGAN,
    WGANGP,
    AdversarialDialogue,
)

AlgorithmConfig = Annotated[
    SeqGAN.Config
    | MLE.Config
    | ScheduledSampling.Config
    | PGBLEU.Config
    | MaliGAN.Config
    | BGAN.Config
    | WGAN.Config
    | WGANGP.Config
    | AdversarialDialogue.Config,
    Field(discriminator="name"),
]


def build(config: Algorithm.Config) -> Algorithm:
    """The algorithm that a configuration belongs to."""
    for algorithm in ALGORITHMS:
        if type(config) is algorithm.Config:
            return algorithm(config)
    raise ValueError(f"{type(config).__qualname__} is not registered: add it to algorithms/registry.py")
