"""The arithmetic of an LSTM cell between its products, written into given tensors: in place, or to be fused.

z (B,4H) holds the gates i, f, g, o; all other tensors are (B,H).
"""

from __future__ import annotations

import torch
from torch import Tensor


def forward(sums: Tensor, c: Tensor, z: Tensor, new_c: Tensor, tanh_c: Tensor, h: Tensor) -> None:
    """Write z, new_c, tanh_c and h from the gates' sums (B,4H), which may be z itself."""
    H = c.shape[1]
    torch.sigmoid(sums[:, : 2 * H], out=z[:, : 2 * H])
    torch.tanh(sums[:, 2 * H : 3 * H], out=z[:, 2 * H : 3 * H])
    torch.sigmoid(sums[:, 3 * H :], out=z[:, 3 * H :])
    i, f, g, o = z.chunk(4, dim=1)
    torch.mul(f, c, out=new_c).addcmul_(i, g)
    torch.tanh(new_c, out=tanh_c)
    torch.mul(o, tanh_c, out=h)


def backward(
    z: Tensor, c: Tensor, tanh_c: Tensor, dh: Tensor, dc: Tensor, dz: Tensor, scratch: Tensor
) -> None:
    """Write dz, the gradients of the sums; dc becomes that of the step before, c."""
    i, f, g, o = z.chunk(4, dim=1)
    di, df, dg, do = dz.chunk(4, dim=1)
    aten = torch.ops.aten
    torch.mul(dh, o, out=scratch)
    dc.add_(aten.tanh_backward(scratch, tanh_c))
    torch.mul(dc, g, out=scratch)
    aten.sigmoid_backward.grad_input(scratch, i, grad_input=di)
    torch.mul(dc, c, out=scratch)
    aten.sigmoid_backward.grad_input(scratch, f, grad_input=df)
    torch.mul(dc, i, out=scratch)
    aten.tanh_backward.grad_input(scratch, g, grad_input=dg)
    torch.mul(dh, tanh_c, out=scratch)
    aten.sigmoid_backward.grad_input(scratch, o, grad_input=do)
    dc.mul_(f)


def fusible_forward(sums: Tensor, c: Tensor, z: Tensor, new_c: Tensor, tanh_c: Tensor, h: Tensor) -> None:
    """The same as one expression of each result, for torch.compile."""
    i, f, g, o = sums.chunk(4, dim=1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    t = new.tanh()
    new_c.copy_(new)
    tanh_c.copy_(t)
    h.copy_(o * t)
    for gate, into in zip((i, f, g, o), z.chunk(4, dim=1), strict=True):
        into.copy_(gate)


def fusible_backward(
    z: Tensor, c: Tensor, tanh_c: Tensor, dh: Tensor, dc: Tensor, dz: Tensor, scratch: Tensor
) -> None:
    """The same as one expression of each result, for torch.compile."""
    i, f, g, o = z.chunk(4, dim=1)
    d = dc + dh * o * (1 - tanh_c * tanh_c)
    sums = d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g * g), dh * tanh_c * o * (1 - o)
    for gradient, into in zip(sums, dz.chunk(4, dim=1), strict=True):
        into.copy_(gradient)
    dc.copy_(d * f)
