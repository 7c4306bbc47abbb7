"""Small models that stand behind the protocols of ``algorithms.models.base``, one of each kind.

They show that conditional, attention, one-shot and prefix-scoring models fit, and the tabular ones make
exact enumeration possible: every sequence, its probability and its logit are known numbers.
"""

from __future__ import annotations

from toys.enumeration import all_sequences
from toys.one_shot import ToyOneShot
from toys.prefix_discriminator import ToyPrefixDiscriminator
from toys.seq2seq import ToySeq2Seq
from toys.tabular import NgramGenerator, TabularDiscriminator
from toys.transformer import ToyTransformer

__all__ = [
    "NgramGenerator",
    "TabularDiscriminator",
    "ToyOneShot",
    "ToyPrefixDiscriminator",
    "ToySeq2Seq",
    "ToyTransformer",
    "all_sequences",
]
