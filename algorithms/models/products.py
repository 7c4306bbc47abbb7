"""Matrix products in which a row's result does not depend on its place among the rows.

CPU libraries have kernels of their own for products with few columns. They take rows in groups and treat
what is left over differently, so that the last bits of a row depend on where it stands (seen in MKL 2024
below 12 columns). Rollouts promise the same bits for a row in any company: few columns are therefore
filled up with zeros, which costs nothing at that size.

Under ``torch.autocast`` both factors are rounded and the sums are not; what comes out is of x's own type.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

FEWEST = 16
"""Columns; a product with fewer is filled up."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight + bias: [R, K], [K, N], [N] -> [R, N]."""
    N = weight.shape[1]
    if N < FEWEST:
        weight = pad(weight, (0, FEWEST - N))
        bias = None if bias is None else pad(bias, (0, FEWEST - N))
    out = torch.mm(x, weight) if bias is None else torch.addmm(bias, x, weight)
    return (out[:, :N] if N < FEWEST else out).to(x.dtype)
