"""Maximum likelihood alone: the first baseline of SeqGAN's Table 1, and where the others start.

    max_theta  sum_t log G(y_t | Y_1:t-1)   over the data, mean per token

Departures: minibatches are reshuffled every epoch (the SeqGAN authors keep one order;
``pretrain.shuffle = false`` does as they do).
"""

from __future__ import annotations

from typing import Literal

from algorithms.base import Algorithm, PretrainingOnly


class MLE(PretrainingOnly):
    class Config(Algorithm.Config):
        name: Literal["mle"] = "mle"

    config: Config
