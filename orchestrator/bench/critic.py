"""One step of WGAN-GP's critic in several forms, and what the gradient penalty costs, at the paper's sizes.

The penalty asks for the gradient of a gradient. Each form is timed in turn with the shipped one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from algorithms.models.residual_conv import ResidualConvDiscriminator, ResidualConvGenerator
from algorithms.types import Alphabet, Sequences, Source
from algorithms.wgan import WGAN
from algorithms.wgan_gp import WGANGP
from orchestrator.bench.timing import in_turn

Say = Callable[[str], None]
V, T, ROWS = 100, 32, 64


@dataclass(frozen=True, slots=True)
class CriticRow:
    """One form of the critic's step; seconds are None where it does not run, with the reason.

    Attributes:
        seconds: the median of several times, each form in turn.
        ratio: to the shipped form of WGAN-GP's step.
    """

    critic: str
    seconds: float | None
    ratio: float | None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class ChannelsLast(nn.Conv1d):
    """The same convolution as a two-dimensional one of one column, channels last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        wide = x[..., None].contiguous(memory_format=torch.channels_last)
        weight = self.weight[..., None].contiguous(memory_format=torch.channels_last)
        found = nn.functional.conv2d(wide, weight, self.bias, padding=(self.kernel_size[0] // 2, 0))
        return found[..., 0]


class Product(nn.Conv1d):
    """The same convolution as one matrix product of windows that lie side by side."""

    def forward(self, x: Tensor) -> Tensor:
        half, length = self.kernel_size[0] // 2, x.shape[2]
        padded = nn.functional.pad(x.transpose(1, 2), (0, 0, half, half))  # [B, T + width - 1, dim]
        windows = torch.cat([padded[:, j : j + length] for j in range(2 * half + 1)], -1)
        weight = self.weight.transpose(1, 2).flatten(1)
        return nn.functional.linear(windows, weight, self.bias).transpose(1, 2)


def compare_critics(
    device: torch.device, *, fast_bf16: bool, quick: bool = False, say: Say = lambda _: None
) -> list[CriticRow]:
    """The rows of the table.

    Args:
        fast_bf16: whether products in bfloat16 are worth a try.
    """
    work = _Critics(device, quick)
    penalised, plain = WGANGP(WGANGP.Config()), WGAN(WGAN.Config())
    shipped = work.step(penalised)
    forms = {
        "wgan, clipped": work.step(plain),
        "wgan_gp, channels last": work.step(penalised, ChannelsLast),
        "wgan_gp, matrix products": work.step(penalised, Product),
        "wgan_gp, layer norm": work.step(penalised, layer_norm=True),
    }
    if fast_bf16:
        forms["wgan_gp, bfloat16"] = work.step(penalised, bf16=True)
    rows: list[CriticRow] = []
    for name, form in forms.items():
        say(f"measuring a critic's step: {name} ...")
        base, found = (statistics.median(times) for times in in_turn(shipped, form, device))
        if not rows:
            rows.append(CriticRow("wgan_gp", base, 1.0))
        rows.append(CriticRow(name, found, found / base))
    if not fast_bf16:
        rows.append(CriticRow("wgan_gp, bfloat16", None, None, "no fast products in bfloat16 here"))
    compiled = "torch.compile refuses a gradient of a gradient (aot_autograd)"
    return [*rows, CriticRow("wgan_gp, compiled", None, None, compiled)]


class _Critics:
    """The paper's networks and one minibatch."""

    def __init__(self, device: torch.device, quick: bool) -> None:
        self._device, self._sizes = device, {"dim": 16, "blocks": 1} if quick else {"dim": 512, "blocks": 5}
        self._alphabet = Alphabet(size=V)
        torch.manual_seed(0)
        sizes = ResidualConvGenerator.Config(**self._sizes)
        self._G = sizes.build(self._alphabet, T).to(device)
        tokens, lengths = torch.randint(V, (ROWS, T)), torch.full((ROWS,), T)
        z = Source(vector=torch.randn(ROWS, self._G.latent))
        self._real, self._fake = (Sequences(tokens, lengths, one).to(device) for one in (None, z))

    def step(
        self,
        algorithm: WGAN | WGANGP,
        form: type[nn.Conv1d] = nn.Conv1d,
        *,
        layer_norm: bool = False,
        bf16: bool = False,
    ) -> Callable[[], None]:
        """One update of a critic with convolutions of a form."""
        sizes = ResidualConvDiscriminator.Config(**self._sizes, layer_norm=layer_norm)
        D = sizes.build(self._alphabet, T).to(self._device)
        for module in D.modules():
            if isinstance(module, nn.Conv1d):
                module.__class__ = form
        parameters, optimizer = list(D.parameters()), algorithm.optimizer(D, 1e-4)

        def run() -> None:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
                loss = algorithm.discriminator_loss(self._G, D, self._fake, self._real, torch.Generator())
            slopes = torch.autograd.grad(loss.value, parameters, allow_unused=True)
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter.grad = slope
            optimizer.step()
            algorithm.constrain(D)

        return run
