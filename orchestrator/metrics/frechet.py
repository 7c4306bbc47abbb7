"""The Frechet distance of two sets of vectors, each taken as a normal distribution.

    d^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^(1/2) S2 S1^(1/2))^(1/2))

Heusel et al. 2017 (https://arxiv.org/abs/1706.08500) for images; de Masson d'Autume et al. 2019
(ScratchGAN) for sentences, there on features of a downloaded encoder: values of other features are not
comparable with ours. Biased upward by few sentences, as the covariances are estimates: compare values of
one number of sentences, and with that of real held-out sentences.
"""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """d^2 of two sets of vectors.

    Args:
        a: [N, H] float64, at least two.
        b: [M, H] float64, at least two.

    Raises:
        ValueError: fewer than two vectors on a side.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a covariance needs at least 2 sentences, got {len(a)} and {len(b)}")
    (m1, s1), (m2, s2) = _moments(a), _moments(b)
    values, vectors = torch.linalg.eigh(s1)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ s2 @ root).clamp_min(0).sqrt().sum()
    distance = (m1 - m2).square().sum() + s1.trace() + s2.trace() - 2 * shared
    return max(0.0, distance.item())


def _moments(vectors: Tensor) -> tuple[Tensor, Tensor]:
    return vectors.mean(0), torch.cov(vectors.T).reshape(vectors.shape[1], -1)
