"""One step down a loss."""

from __future__ import annotations

import torch
from torch import Tensor

from orchestrator.errors import GuardError


def descend(
    optimizer: torch.optim.Optimizer, loss: Tensor, limit: float | None, network: str, place: str
) -> Tensor:
    """One step of an optimiser; the gradient reaches the parameters that it owns and no others.

    Args:
        limit: the gradient is scaled down to this norm; None: never.
        network, place: for people.

    Returns:
        The norm of the gradient before that.

    Raises:
        GuardError: the gradient is not finite.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    try:
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit or torch.inf, error_if_nonfinite=True)
    except RuntimeError:
        raise GuardError(
            f"the {network}'s gradient is not finite (loss {loss.item():.4g}) at {place}: training has "
            "diverged. The last checkpoint is good; start again from it with a lower learning rate (init.run)"
        ) from None
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
