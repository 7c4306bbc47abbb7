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


def lstm_layer(gates: Tensor, recurrent: Tensor) -> tuple[Tensor, Tensor]:
    """h and c after every step, from zeros: [T, B, H] each. Only h passes a gradient.

    Args:
        gates: [T, B, 4 H], in the order i, f, g, o.
        recurrent: R, [H, 4 H].
    """
    h, c = _Layer.apply(gates, recurrent)  # type: ignore[no-untyped-call]
    return h, c


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, recurrent: Tensor) -> tuple[Tensor, Tensor]:
        T, B, H = *gates.shape[:2], recurrent.shape[0]
        hs, cs, tanhs = (gates.new_empty(T, B, H) for _ in range(3))
        acts = torch.empty_like(gates)  # s(i), s(f), tanh(g), s(o)
        h = c = gates.new_zeros(B, H)
        for t in range(T):
            act = torch.addmm(gates[t], h, recurrent, out=acts[t])
            i, f, g, o = act.chunk(4, 1)
            act[:, : 2 * H].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            c = torch.addcmul(f * c, i, g, out=cs[t])
            h = torch.mul(o, torch.tanh(c, out=tanhs[t]), out=hs[t])
        ctx.mark_non_differentiable(cs)
        ctx.save_for_backward(recurrent, acts, hs, cs, tanhs)
        return hs, cs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dhs: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        recurrent, acts, hs, cs, tanhs = ctx.saved_tensors
        T, B, H = hs.shape
        # what of each step depends on no later one is worked out for all steps at once
        i, f, g, o = acts.chunk(4, 2)
        before = torch.cat([cs.new_zeros(1, B, H), cs[:-1]])  # c of the step before
        slope_c = o * (1 - tanhs * tanhs)  # dc / dh
        slopes = torch.cat([g * i * (1 - i), before * f * (1 - f), i * (1 - g * g)], 2)  # d(i, f, g) / dc
        slope_o = tanhs * o * (1 - o)
        dgates = torch.empty_like(acts)
        dh, dc = dhs[-1], torch.zeros_like(hs[0])
        for t in range(T - 1, -1, -1):
            dc = torch.addcmul(dc, dh, slope_c[t])
            torch.mul(dc.repeat(1, 3), slopes[t], out=dgates[t, :, : 3 * H])
            torch.mul(dh, slope_o[t], out=dgates[t, :, 3 * H :])
            if t:
                dh = torch.addmm(dhs[t - 1], dgates[t], recurrent.t())
                dc = dc * f[t]
        drecurrent = torch.mm(hs[:-1].reshape(-1, H).t(), dgates[1:].view(-1, 4 * H))
        return dgates, drecurrent
