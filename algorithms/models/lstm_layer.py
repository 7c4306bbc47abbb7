"""An LSTM layer over a whole sequence, with its backward pass written out.

    i, f, g, o = gates_t + h_{t-1} R                     gates_t: what the input says, bias included
    c_t = s(f) c_{t-1} + s(i) tanh(g)                    s: the logistic function
    h_t = s(o) tanh(c_t)

Automatic differentiation of the same loop takes many more operations, each on a few thousand
numbers, and one product for the gradient of R at every step instead of one at the end. Unlike
``torch.nn.LSTM`` this gives the cell state after every prefix, which a completion needs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def lstm_layer(
    gates: Tensor, recurrent: Tensor, h: Tensor | None = None, c: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """h and c after every step: [T, B, H] each.

    Args:
        gates: [T, B, 4 H], in the order i, f, g, o.
        recurrent: R, [H, 4 H].
        h, c: [B, H] before the first step; zeros where None.
    """
    hs, cs = _Layer.apply(gates, recurrent, h, c)  # type: ignore[no-untyped-call]
    return hs, cs


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, recurrent: Tensor, h0: Tensor | None, c0: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        T, B, H = *gates.shape[:2], recurrent.shape[0]
        hs, cs, tanhs = (gates.new_empty(T, B, H) for _ in range(3))
        acts = torch.empty_like(gates)  # s(i), s(f), tanh(g), s(o)
        h = gates.new_zeros(B, H) if h0 is None else h0
        c = gates.new_zeros(B, H) if c0 is None else c0
        for t in range(T):
            act = torch.addmm(gates[t], h, recurrent, out=acts[t])
            i, f, g, o = act.chunk(4, 1)
            act[:, : 2 * H].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            c = torch.addcmul(f * c, i, g, out=cs[t])
            h = torch.mul(o, torch.tanh(c, out=tanhs[t]), out=hs[t])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(recurrent, acts, hs, cs, tanhs, h0, c0)
        return hs, cs

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, dhs: Tensor | None, dcs: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        recurrent, acts, hs, cs, tanhs, h0, c0 = ctx.saved_tensors
        T, B, H = hs.shape
        if dhs is None:
            dhs = torch.zeros_like(hs)
        # what of each step depends on no later one is worked out for all steps at once
        i, f, g, o = acts.chunk(4, 2)
        first = cs.new_zeros(1, B, H) if c0 is None else c0[None]
        before = torch.cat([first, cs[:-1]])  # c of the step before
        slope_c = o * (1 - tanhs * tanhs)  # dh / dc
        slopes = torch.cat([g * i * (1 - i), before * f * (1 - f), i * (1 - g * g)], 2)  # dc / d(i, f, g)
        slope_o = tanhs * o * (1 - o)
        dgates = torch.empty_like(acts)
        dh, dc = dhs[-1], torch.zeros_like(hs[0])
        for t in range(T - 1, -1, -1):
            dc = torch.addcmul(dc, dh, slope_c[t])
            if dcs is not None:
                dc = dc + dcs[t]
            torch.mul(dc.repeat(1, 3), slopes[t], out=dgates[t, :, : 3 * H])
            torch.mul(dh, slope_o[t], out=dgates[t, :, 3 * H :])
            if t:
                dh = torch.addmm(dhs[t - 1], dgates[t], recurrent.t())
                dc = dc * f[t]
        drecurrent = torch.mm(hs[:-1].reshape(-1, H).t(), dgates[1:].view(-1, 4 * H))
        if h0 is not None:
            drecurrent = drecurrent + torch.mm(h0.t(), dgates[0])
        dh0 = None if h0 is None else torch.mm(dgates[0], recurrent.t())
        return dgates, drecurrent, dh0, None if c0 is None else dc * f[0]
