"""A synthetic oracle that answers two synthetic utterances, so that the likelihood of a reply is known.

The utterances come from a random LSTM, the replies from a random encoder and decoder with attention that has
read them, all of any length up to T. Ours, after the oracle of Yu et al. 2017.
"""

from __future__ import annotations

import torch

from algorithms.models.lstm import LSTMGenerator
from algorithms.models.seq2seq import Seq2Seq
from algorithms.types import Alphabet, Source
from workers.generation import sample
from workers.philox import Path, global_random
from workers.pieces import completed
from workers.process import alone

TURNS = 2
"""Utterances of a history."""


def alphabet(vocabulary: int) -> Alphabet:
    """Of utterances and replies: 0 starts and pads, 1 ends, the other symbols mean nothing."""
    return Alphabet(size=vocabulary, start=0, end=1, pad=0, banned=(0,))


def draw_conditional_oracle(seed: int, vocabulary: int, hidden: int, length: int) -> Seq2Seq:
    """What answers; a pure function of its arguments."""
    config = Seq2Seq.Config(embedding=hidden, hidden=hidden, layers=1, dropout=0.0, init_range=_RANGE)
    with global_random(("conditional oracle", seed)), torch.no_grad():
        oracle = config.build(alphabet(vocabulary), length)
        oracle.output.uniform_(-_OUTPUT_RANGE, _OUTPUT_RANGE)
    _end(oracle.output, oracle.output_bias, 0.6)
    return oracle.requires_grad_(False).eval()


def histories(seed: int, vocabulary: int, hidden: int, length: int, count: int, address: Path) -> Source:
    """So many histories of two utterances, by address: tokens [count, 2, length]."""
    config = LSTMGenerator.Config(embedding=hidden, hidden=hidden, init_std=1.0)
    with global_random(("conditional oracle", seed, "utterances")):
        speaker = config.build(alphabet(vocabulary), length).requires_grad_(False).eval()
    _end(speaker.output, speaker.output_bias, 0.5)
    with torch.inference_mode(), alone():
        size = completed(torch.device("cpu"))
        said, _ = sample(speaker, torch.arange(TURNS * count), (*address, "histories"), size=size)
    shape = (count, TURNS, length)
    return Source(said.tokens.clone().view(shape), said.mask.clone().view(shape))


_RANGE, _OUTPUT_RANGE = 0.7, 1.5
"""Of uniform parameters. With a variance of 1, as the unconditional oracle has, a reply would be an almost
certain but chaotic function of its history, which nobody learns; here at V = 100 and H = 32 a reply's
symbols have 2.6 nats each, and 3.3 under another history."""


def _end(output: torch.Tensor, bias: torch.Tensor, share: float) -> None:
    """Gives the end symbol a logit that is no state's own, so that no seed's utterances all end at once.

    Args:
        share: its probability where the other symbols' logits are their biases.
    """
    with torch.no_grad():
        output[:, 1] = 0
        bias[1] = bias[2:].logsumexp(0) + torch.tensor(share / (1 - share)).log()
