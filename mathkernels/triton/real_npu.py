"""Real neural power unit (Heim et al. 2020) on a GPU: weights w (O,I), gates g (I) that all outputs share.

    h_i = clamp(g_i, 0, 1),  r_i = h_i (|x_i| + eps) + (1 - h_i),  s_i = [x_i < 0]
    y_o = E_o cos(pi B_o),  E_o = exp(sum_i w_oi ln r_i),  B_o = sum_i w_oi h_i s_i
    dy_o/dw_oi = E_o (cos ln r_i - sin pi h_i s_i)
    dy_o/dh_i  = E_o w_oi (cos q_i - sin pi s_i),  q_i = (|x_i| + eps - 1) / r_i
    dy_o/dx_i  = E_o cos w_oi h_i sign(x_i) / r_i

Every sum over inputs, outputs or rows is a matrix product of elementwise functions; all are taken in full
precision ("ieee"), because an error of the exponent is a relative error of y.
"""

# pyright: reportIndexIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false
# (the language of Triton kernels is not Python's type system)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mathkernels.triton._launch import SPLIT, add_splits, device_of, splits
from mathkernels.triton._math import exp, sincospi

BLOCK_B, BLOCK_O, BLOCK_I = 32, 16, 16  # tl.dot takes no side below 16


@triton.jit
def _inputs(x, gate, row, e, b, i, B, I, EPSILON: tl.constexpr):
    """x, h, r and ln r of a tile (BLOCK_B, BLOCK_I); ln r is 0 outside, so that sums may run over it."""
    inside = (b < B)[:, None] & (i < I)[None, :]
    value = tl.load(x + row[:, None] * I + i[None, :], mask=inside, other=1)
    g = tl.load(gate + e * I + i, mask=i < I, other=0)
    h = tl.where(g < 0, 0, tl.where(g > 1, 1, g))[None, :]
    r = h * (tl.abs(value) + EPSILON) + (1 - h)
    return value, h, r, tl.where(inside, tl.log(r), 0)


@triton.jit
def _add_product(a, b, total):
    return tl.dot(a, b, total, input_precision="ieee", out_dtype=total.dtype)


@triton.jit
def amplitudes(
    x, weight, gate, dy, first, second, B, I, O,
    EPSILON: tl.constexpr, BACKWARD: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr,
):  # fmt: skip
    """(E,B,O): first = E cos, or, for the backward pass, first = dy E cos and second = pi dy E sin."""
    tiles_b, tiles_o = tl.cdiv(B, BLOCK_B), tl.cdiv(O, BLOCK_O)
    program = tl.program_id(0).to(tl.int64)
    o = program % tiles_o * BLOCK_O + tl.arange(0, BLOCK_O)
    b = program // tiles_o % tiles_b * BLOCK_B + tl.arange(0, BLOCK_B)
    e = program // (tiles_o * tiles_b)
    row = e * B + b
    power = tl.zeros((BLOCK_B, BLOCK_O), x.dtype.element_ty)
    turns = tl.zeros((BLOCK_B, BLOCK_O), x.dtype.element_ty)
    for start in range(0, I, BLOCK_I):
        i = start + tl.arange(0, BLOCK_I)
        value, h, _, log_r = _inputs(x, gate, row, e, b, i, B, I, EPSILON)
        at, inside = (e * O + o)[None, :] * I + i[:, None], (o < O)[None, :] & (i < I)[:, None]
        w = tl.load(weight + at, mask=inside, other=0)
        power = _add_product(log_r, w, power)
        turns = _add_product(tl.where(value < 0, h, 0), w, turns)
    size = exp(power)
    sin, cos = sincospi(turns)
    at, inside = row[:, None] * O + o[None, :], (b < B)[:, None] & (o < O)[None, :]
    if BACKWARD:
        slope = tl.load(dy + at, mask=inside, other=0)
        tl.store(first + at, slope * (size * cos), mask=inside)
        tl.store(second + at, slope * (size * sin) * 3.14159265358979323846, mask=inside)
    else:
        tl.store(first + at, size * cos, mask=inside)


@triton.jit
def backward_x(
    cosine, sine, x, weight, gate, dx, partial, E, B, I, O,
    EPSILON: tl.constexpr, SPLIT: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr,
):  # fmt: skip
    """dx (E,B,I) and partial (S,E,I) of the gates: a program owns one tile of inputs over SPLIT rows."""
    tiles_i = tl.cdiv(I, BLOCK_I)
    program = tl.program_id(0).to(tl.int64)
    i = program % tiles_i * BLOCK_I + tl.arange(0, BLOCK_I)
    e, split = program // tiles_i % E, program // (tiles_i * E)
    total = tl.zeros((BLOCK_I,), x.dtype.element_ty)
    for start in range(split * SPLIT, tl.minimum(split * SPLIT + SPLIT, B), BLOCK_B):
        b = start + tl.arange(0, BLOCK_B)
        row = e * B + b
        along = tl.zeros((BLOCK_B, BLOCK_I), x.dtype.element_ty)
        across = tl.zeros((BLOCK_B, BLOCK_I), x.dtype.element_ty)
        for first in range(0, O, BLOCK_O):
            o = first + tl.arange(0, BLOCK_O)
            at, inside = row[:, None] * O + o[None, :], (b < B)[:, None] & (o < O)[None, :]
            w_inside = (o < O)[:, None] & (i < I)[None, :]
            w = tl.load(weight + (e * O + o)[:, None] * I + i[None, :], mask=w_inside, other=0)
            along = _add_product(tl.load(cosine + at, mask=inside, other=0), w, along)
            across = _add_product(tl.load(sine + at, mask=inside, other=0), w, across)
        value, h, r, _ = _inputs(x, gate, row, e, b, i, B, I, EPSILON)
        inside = (b < B)[:, None] & (i < I)[None, :]
        sign = tl.where(value > 0, 1, tl.where(value < 0, -1, value))
        tl.store(dx + row[:, None] * I + i[None, :], along * h * sign / r, mask=inside)
        slope = along * ((tl.abs(value) + EPSILON - 1) / r) - tl.where(value < 0, across, 0)
        # an infinite weight times the 0 outside the batch is NaN: such rows are left out, not multiplied by 0
        total += tl.sum(tl.where(inside, slope, 0), 0)
    g = tl.load(gate + e * I + i, mask=i < I, other=0)
    total = tl.where((g >= 0) & (g <= 1), total, 0)  # the clamp passes gradient inside [0, 1] only
    tl.store(partial + (split * E + e) * I + i, total, mask=i < I)


@triton.jit
def backward_weight(
    cosine, sine, x, gate, partial, E, B, I, O,
    EPSILON: tl.constexpr, SPLIT: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr,
):  # fmt: skip
    """partial (S,E,O,I): a program owns a tile of weights over SPLIT rows."""
    tiles_i, tiles_o = tl.cdiv(I, BLOCK_I), tl.cdiv(O, BLOCK_O)
    program = tl.program_id(0).to(tl.int64)
    i = program % tiles_i * BLOCK_I + tl.arange(0, BLOCK_I)
    o = program // tiles_i % tiles_o * BLOCK_O + tl.arange(0, BLOCK_O)
    e, split = program // (tiles_i * tiles_o) % E, program // (tiles_i * tiles_o * E)
    total = tl.zeros((BLOCK_O, BLOCK_I), x.dtype.element_ty)
    for start in range(split * SPLIT, tl.minimum(split * SPLIT + SPLIT, B), BLOCK_B):
        b = start + tl.arange(0, BLOCK_B)
        row = e * B + b
        value, h, _, log_r = _inputs(x, gate, row, e, b, i, B, I, EPSILON)
        at, inside = row[None, :] * O + o[:, None], (b < B)[None, :] & (o < O)[:, None]
        along = tl.load(cosine + at, mask=inside, other=0)
        across = tl.load(sine + at, mask=inside, other=0)
        total = _add_product(along, log_r, total)
        total = _add_product(across, tl.where(value < 0, -h, 0), total)
    inside = (o < O)[:, None] & (i < I)[None, :]
    tl.store(partial + ((split * E + e) * O + o)[:, None] * I + i[None, :], total, mask=inside)


TILE = {"BLOCK_B": BLOCK_B, "BLOCK_O": BLOCK_O, "BLOCK_I": BLOCK_I}


def _amplitudes(
    x: Tensor, weight: Tensor, gate: Tensor, dy: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor]:
    models, batch, inputs = x.shape
    outputs = weight.shape[1]
    backward = dy is not None
    first = torch.empty((models, batch, outputs), dtype=x.dtype, device=x.device)
    second = torch.empty_like(first) if backward else first
    grid = models * triton.cdiv(batch, BLOCK_B) * triton.cdiv(outputs, BLOCK_O)
    if grid:
        with device_of(x):
            amplitudes[(grid,)](
                x, weight, gate, dy if backward else x, first, second, batch, inputs, outputs,
                EPSILON=epsilon, BACKWARD=backward, **TILE,
            )  # fmt: skip
    return first, second


def real_npu_forward(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float) -> Tensor:
    """x (E,B,I), weight (E,O,I), gate (E,I) -> y (E,B,O); any of the sizes may be 0."""
    return _amplitudes(x.contiguous(), weight.contiguous(), gate.contiguous(), None, epsilon)[0]


def real_npu_backward(
    dy: Tensor, x: Tensor, weight: Tensor, gate: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """dy (E,B,O) and the forward's arguments -> dx (E,B,I), dweight (E,O,I), dgate (E,I)."""
    dy, x, weight, gate = dy.contiguous(), x.contiguous(), weight.contiguous(), gate.contiguous()
    models, batch, inputs = x.shape
    outputs = weight.shape[1]
    parts = splits(batch)
    cosine, sine = _amplitudes(x, weight, gate, dy, epsilon)
    dx = torch.empty_like(x)
    dweight = torch.empty((parts, *weight.shape), dtype=x.dtype, device=x.device)
    dgate = torch.empty((parts, *gate.shape), dtype=x.dtype, device=x.device)
    sizes = (models, batch, inputs, outputs)
    with device_of(x):
        if dgate.numel():
            grid = parts * models * triton.cdiv(inputs, BLOCK_I)
            backward_x[(grid,)](
                cosine, sine, x, weight, gate, dx, dgate, *sizes, EPSILON=epsilon, SPLIT=SPLIT, **TILE
            )
        if dweight.numel():
            grid = parts * models * triton.cdiv(inputs, BLOCK_I) * triton.cdiv(outputs, BLOCK_O)
            backward_weight[(grid,)](
                cosine, sine, x, gate, dweight, *sizes, EPSILON=epsilon, SPLIT=SPLIT, **TILE
            )
    return dx, add_splits(dweight), add_splits(dgate)
