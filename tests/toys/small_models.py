"""A small model that answers, with random parameters."""

from __future__ import annotations

import torch

from algorithms.models.seq2seq import Seq2Seq
from algorithms.types import Alphabet
from orchestrator.codec import Codec
from orchestrator.sampling import Sampler


def answering(*, text: bool = True) -> Sampler:
    codec = Codec.fit(["a b", "b a c d e"], "word", 100) if text else None
    alphabet = Alphabet(size=5, start=0, end=1, pad=0, banned=(0,)) if codec is None else codec.alphabet
    torch.manual_seed(3)
    config = Seq2Seq.Config(embedding=8, hidden=8, layers=2, dropout=0.5, init_range=1.5)
    return Sampler(config.build(alphabet, 6), codec)
