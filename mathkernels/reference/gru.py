"""Gated recurrent unit, whole sequences (Cho et al. 2014), with the reset gate after the product."""

import torch
from torch import Tensor

from mathkernels.reference.sequences import (
    at_steps,
    order_of,
    outer,
    rows_of,
    states_before,
    times,
    valid_steps,
)


def gru(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    h0: Tensor | None = None,
    lengths: Tensor | None = None,
    bfloat16: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """x (E,T,B,I) -> y (E,T,B,DH), hn (E,D,B,H), gates (E,D,T,B,4H).

    r, z = sigmoid(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh);  n = tanh(W_in x_t + b_in + r q) with
    q = W_hn h_{t-1} + b_hn;  h_t = (1 - z) n + z h_{t-1}. Rows of the weights in the order r, z, n; gates are
    r, z, n, q. Where a row has ended, the state stays and y is 0.

    What stands at steps that are not there goes into no product, so that autograd finds no gradient there,
    whatever the weights hold.

    Weights (E,D,3H,I) and (E,D,3H,H), biases (E,D,3H), h0 (E,D,B,H), lengths (E,B). Whole numbers x (E,T,B)
    stand for one-hot rows. With bfloat16, factors of products are rounded to it.
    """
    D, H = weight_hh.shape[1], weight_hh.shape[3]
    valid = valid_steps(x, lengths)
    rows = rows_of(x, weight_ih.shape[3], valid, weight_ih)
    parts = []
    for d in range(D):
        order = order_of(x.shape[1], d)
        h = rows.new_zeros(x.shape[0], x.shape[2], H) if h0 is None else h0[:, d]
        projected = times(rows, weight_ih[:, d], bfloat16)
        if bias_ih is not None:
            projected = projected + bias_ih[:, d, None, None]
        hs, gates = [], []
        for t in order:
            take = valid[:, t]
            recurrent = times(torch.where(take, h, 0), weight_hh[:, d], bfloat16)
            if bias_hh is not None:
                recurrent = recurrent + bias_hh[:, d, None]
            from_x, from_h = torch.where(take, projected[:, t], 0), torch.where(take, recurrent, 0)
            r, z = torch.sigmoid(from_x[..., : 2 * H] + from_h[..., : 2 * H]).chunk(2, dim=-1)
            q = from_h[..., 2 * H :]
            n = torch.tanh(from_x[..., 2 * H :] + r * q)
            new_h = (1 - z) * n + z * torch.where(take, h, 0)
            hs.append(torch.where(take, new_h, 0))
            gates.append(torch.cat([r, z, n, q], dim=-1))
            h = torch.where(take, new_h, h)
        no_gates = rows.new_zeros(x.shape[0], 0, x.shape[2], 4 * H)
        parts.append((at_steps(hs, order, projected[..., :H]), h, at_steps(gates, order, no_gates)))
    y, hn, gates = zip(*parts, strict=True)
    return torch.cat(y, dim=-1), torch.stack(hn, dim=1), torch.stack(gates, dim=1)


def gru_backward(
    dy: Tensor | None,
    dhn: Tensor | None,
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor | None,
    lengths: Tensor | None,
    y: Tensor,
    gates: Tensor,
    bfloat16: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x (as one-hot rows for token ids), both weights, both biases and h0.

    From those of y and hn, None for 0, and what `gru` returned.
    """
    D, H = weight_hh.shape[1], weight_hh.shape[3]
    valid = valid_steps(x, lengths)
    rows = rows_of(x, weight_ih.shape[3], valid, weight_ih)
    no_state = rows.new_zeros(x.shape[0], x.shape[2], H)
    dx, parts = torch.zeros_like(rows), []
    for d in range(D):
        order, span = order_of(x.shape[1], d), slice(d * H, (d + 1) * H)
        h_before = states_before(y[..., span], no_state if h0 is None else h0[:, d], valid, order)
        dh = no_state if dhn is None else dhn[:, d]
        to_x, to_h = [], []
        for t in reversed(order):
            r, z, n, q = gates[:, d, t].chunk(4, dim=-1)
            dh_t = dh if dy is None else dh + dy[:, t, :, span]
            dn = dh_t * (1 - z) * (1 - n * n)
            dz = dh_t * (h_before[:, t] - n) * z * (1 - z)
            dr = dn * q * r * (1 - r)
            to_x.append(torch.where(valid[:, t], torch.cat([dr, dz, dn], dim=-1), 0))
            to_h.append(torch.where(valid[:, t], torch.cat([dr, dz, dn * r], dim=-1), 0))
            dh_before = dh_t * z + times(to_h[-1], weight_hh[:, d].mT, bfloat16)
            dh = torch.where(valid[:, t], dh_before, dh)
        empty = gates[:, d, :, :, : 3 * H]
        from_x, from_h = (at_steps(part, order[::-1], empty) for part in (to_x, to_h))
        dx = dx + times(from_x, weight_ih[:, d].mT, bfloat16)
        dweights = outer(from_x, rows, bfloat16), outer(from_h, h_before, bfloat16)
        parts.append((*dweights, from_x.sum((1, 2)), from_h.sum((1, 2)), dh))
    dweight_ih, dweight_hh, dbias_ih, dbias_hh, dh0 = (
        torch.stack(part, dim=1) for part in zip(*parts, strict=True)
    )
    return torch.where(valid, dx, 0), dweight_ih, dweight_hh, dbias_ih, dbias_hh, dh0
