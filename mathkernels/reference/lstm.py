"""Long short-term memory, whole sequences (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""

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


def lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    lengths: Tensor | None = None,
    bfloat16: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x (E,T,B,I) -> y (E,T,B,DH), hn, cn (E,D,B,H), cells (E,T,B,DH), gates (E,D,T,B,4H).

    i, f, o = sigmoid and g = tanh of W_ih x_t + b_ih + W_hh h_{t-1} + b_hh, rows of the weights in the order
    i, f, g, o;  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t). Where a row has ended, states stay and y and cells
    are 0.

    What stands at steps that are not there goes into no product, so that autograd finds no gradient there,
    whatever the weights hold.

    Weights (E,D,4H,I) and (E,D,4H,H), biases (E,D,4H), states (E,D,B,H), lengths (E,B). Whole numbers x
    (E,T,B) stand for one-hot rows. With bfloat16, factors of products are rounded to it.
    """
    D, H = weight_hh.shape[1], weight_hh.shape[3]
    valid = valid_steps(x, lengths)
    rows = rows_of(x, weight_ih.shape[3], valid, weight_ih)
    no_state = rows.new_zeros(x.shape[0], x.shape[2], H)
    parts = []
    for d in range(D):
        order = order_of(x.shape[1], d)
        h, c = (no_state if state is None else state[:, d] for state in (h0, c0))
        projected = times(rows, weight_ih[:, d], bfloat16)
        if bias_ih is not None and bias_hh is not None:
            projected = projected + (bias_ih + bias_hh)[:, d, None, None]
        hs, cs, gates = [], [], []
        for t in order:
            take = valid[:, t]
            sums = projected[:, t] + times(torch.where(take, h, 0), weight_hh[:, d], bfloat16)
            i, f, g, o = torch.where(take, sums, 0).chunk(4, dim=-1)
            i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
            new_c = f * torch.where(take, c, 0) + i * g
            new_h = o * torch.tanh(new_c)
            hs.append(torch.where(take, new_h, 0))
            cs.append(torch.where(take, new_c, 0))
            gates.append(torch.cat([i, f, g, o], dim=-1))
            h, c = torch.where(take, new_h, h), torch.where(take, new_c, c)
        empty = projected[..., :H]
        parts.append(
            (at_steps(hs, order, empty), h, c, at_steps(cs, order, empty), at_steps(gates, order, projected))
        )
    y, hn, cn, cells, gates = zip(*parts, strict=True)
    along = torch.cat(y, dim=-1), torch.stack(hn, dim=1), torch.stack(cn, dim=1)
    return *along, torch.cat(cells, dim=-1), torch.stack(gates, dim=1)


def lstm_backward(
    dy: Tensor | None,
    dhn: Tensor | None,
    dcn: Tensor | None,
    dcells: Tensor | None,
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    lengths: Tensor | None,
    y: Tensor,
    cells: Tensor,
    gates: Tensor,
    bfloat16: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x (as one-hot rows for token ids), both weights, both biases, h0 and c0.

    From those of y, hn, cn and cells, None for 0, and what `lstm` returned.
    """
    D, H = weight_hh.shape[1], weight_hh.shape[3]
    valid = valid_steps(x, lengths)
    rows = rows_of(x, weight_ih.shape[3], valid, weight_ih)
    no_state = rows.new_zeros(x.shape[0], x.shape[2], H)
    dx, parts = torch.zeros_like(rows), []
    for d in range(D):
        order, span = order_of(x.shape[1], d), slice(d * H, (d + 1) * H)
        h, c = (no_state if state is None else state[:, d] for state in (h0, c0))
        h_before = states_before(y[..., span], h, valid, order)
        c_before = states_before(cells[..., span], c, valid, order)
        dh, dc = (no_state if state is None else state[:, d] for state in (dhn, dcn))
        dz = []
        for t in reversed(order):
            i, f, g, o = gates[:, d, t].chunk(4, dim=-1)
            tanh_c = torch.tanh(cells[:, t, :, span])
            dh_t = dh if dy is None else dh + dy[:, t, :, span]
            dc_t = dc if dcells is None else dc + dcells[:, t, :, span]
            dc_t = dc_t + dh_t * o * (1 - tanh_c * tanh_c)
            di, df = dc_t * g * i * (1 - i), dc_t * c_before[:, t] * f * (1 - f)
            dg, do = dc_t * i * (1 - g * g), dh_t * tanh_c * o * (1 - o)
            dz.append(torch.where(valid[:, t], torch.cat([di, df, dg, do], dim=-1), 0))
            dh = torch.where(valid[:, t], times(dz[-1], weight_hh[:, d].mT, bfloat16), dh)
            dc = torch.where(valid[:, t], dc_t * f, dc)
        gradient = at_steps(dz, order[::-1], gates[:, d])
        dx = dx + times(gradient, weight_ih[:, d].mT, bfloat16)
        dweights = outer(gradient, rows, bfloat16), outer(gradient, h_before, bfloat16)
        parts.append((*dweights, gradient.sum((1, 2)), dh, dc))
    dweight_ih, dweight_hh, dbias, dh0, dc0 = (torch.stack(part, dim=1) for part in zip(*parts, strict=True))
    return torch.where(valid, dx, 0), dweight_ih, dweight_hh, dbias, dbias.clone(), dh0, dc0
