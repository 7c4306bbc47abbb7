"""MAUVE (Pillutla et al. 2021, https://arxiv.org/abs/2102.01454): an optional extra.

By the authors' package ``mauve-text`` (GPL-3.0, so it is no dependency of ours), on our offline features
instead of a downloaded language model's: values are comparable with each other, not with published ones.
"""

from __future__ import annotations

import importlib.util

from torch import Tensor

from orchestrator.metrics.features import FEATURES

MAUVE_SIGNATURE = f"mauve|features:{FEATURES}|buckets:auto|scaling:5|seed:25"


def mauve_lacks() -> str | None:
    """What has to be done before MAUVE can be measured; None where the extra is installed."""
    if all(importlib.util.find_spec(name) is not None for name in ("mauve", "faiss")):
        return None
    return "MAUVE needs an extra that is not installed: pip install 'advseq[mauve]' (it is GPL-3.0)"


def mauve(samples: Tensor, real: Tensor) -> float:
    """MAUVE in (0, 1], higher is better; [N, H] against [M, H], best as many of each.

    Raises:
        ImportError: the extra is not installed.
    """
    from mauve import compute_mauve

    found = compute_mauve(p_features=real.numpy(), q_features=samples.numpy(), verbose=False)
    return float(found.mauve)
