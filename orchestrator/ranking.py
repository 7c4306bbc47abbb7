"""How alike two orders of the same sequences are, and how well a score tells two sets apart."""

from __future__ import annotations

import pandas as pd
from torch import Tensor


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's: 1 where both put the rows in the same order, 0 where neither tells of the other.

    Args:
        one, other: [n]; equal values share a rank. NaN where either is constant.
    """
    return float(_ranks(one).corr(_ranks(other)))


def area_under_curve(higher: Tensor, lower: Tensor) -> float:
    """The share of pairs in which the first has the greater score (Mann and Whitney); a tie counts half.

    Args:
        higher, lower: [n], [m] scores; 0.5 where they cannot be told apart.
    """
    n, m = len(higher), len(lower)
    ranks = _ranks(higher.new_tensor([*higher.tolist(), *lower.tolist()]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def _ranks(values: Tensor) -> pd.Series[float]:
    return pd.Series(values.tolist(), dtype="float64").rank()
