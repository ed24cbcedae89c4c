"""Neural multiplication unit (Madsen & Johansen 2020) on a GPU: y_o = prod_i f_oi, f_oi = w_oi (x_i - 1) + 1.

    dy_o/dw_oi = (x_i - 1) prod_{j != i} f_oj,   dy_o/dx_i = w_oi prod_{j != i} f_oj

The product without factor i is an exclusive prefix product times an exclusive suffix product, never y /
f_i: a factor may be exactly 0. Inputs are cut in chunks; within a chunk both products are scans, and the
other chunks enter by their own products, which a first kernel makes.
"""

# pyright: reportIndexIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false
# (the language of Triton kernels is not Python's type system)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mathkernels.triton._launch import SPLIT, add_splits, device_of, splits

CHUNK = 16  # inputs per scan
BLOCK_B, BLOCK_O = 32, 16


@triton.jit
def chunk_products(x, weight, products, B, I, O, C, chunk, BLOCK_B: tl.constexpr, BLOCK_O: tl.constexpr):
    """products (E,B,O,C), of the factors of each chunk; a program owns a tile of (B,O) for one chunk."""
    tiles_b, tiles_o = tl.cdiv(B, BLOCK_B), tl.cdiv(O, BLOCK_O)
    program = tl.program_id(0).to(tl.int64)
    c = program % C
    o = program // C % tiles_o * BLOCK_O + tl.arange(0, BLOCK_O)
    b = program // (C * tiles_o) % tiles_b * BLOCK_B + tl.arange(0, BLOCK_B)
    e = program // (C * tiles_o * tiles_b)
    x_row, w_row = x + (e * B + b) * I, weight + (e * O + o) * I
    product = tl.full((BLOCK_B, BLOCK_O), 1, x.dtype.element_ty)
    for i in range(c * chunk, tl.minimum(c * chunk + chunk, I)):
        centred = tl.load(x_row + i, mask=b < B, other=1) - 1
        w = tl.load(w_row + i, mask=o < O, other=0)
        product *= centred[:, None] * w[None, :] + 1
    at = ((e * B + b)[:, None] * O + o[None, :]) * C + c
    tl.store(products + at, product, mask=(b < B)[:, None] & (o < O)[None, :])


@triton.jit
def _factors(x_row, w_row, shift, rows, columns):
    """(BLOCK_B, CHUNK): factor i + shift of each row; 1 outside the batch or the chunk."""
    inside = rows[:, None] & columns[None, :]
    centred = tl.load(x_row + shift, mask=inside, other=1) - 1
    return centred * tl.load(w_row + shift, mask=columns, other=0)[None, :] + 1


@triton.jit
def _without_each(x_row, w_row, k, size, rows):
    """(BLOCK_B, CHUNK): the product over a chunk of ``size`` inputs without input k, by shifted scans."""
    before = _factors(x_row, w_row, -1, rows, (k > 0) & (k <= size))
    after = _factors(x_row, w_row, 1, rows, k + 1 < size)
    return tl.cumprod(before, 1) * tl.cumprod(after, 1, reverse=True)


@triton.jit
def _scale(dy, products, at, c, C, rows):
    """dy times the products of all chunks but c, for output ``at`` of each row; 0 outside the batch."""
    scale = tl.load(dy + at, mask=rows, other=0)
    for other in range(C):
        product = tl.load(products + at * C + other, mask=rows, other=1)
        scale *= tl.where(other == c, 1, product)
    return scale


@triton.jit
def backward_x(dy, x, weight, products, dx, B, I, O, C, BLOCK_B: tl.constexpr, CHUNK: tl.constexpr):
    """dx (E,B,I): a program owns a tile of rows for one chunk and adds over the outputs in their order."""
    tiles_b = tl.cdiv(B, BLOCK_B)
    program = tl.program_id(0).to(tl.int64)
    c = (program % C).to(tl.int32)
    start = (program // C % tiles_b).to(tl.int32) * BLOCK_B
    e = program // C // tiles_b
    # offsets inside a tile fit 32 bits, where it starts may not
    first, r, k = e * B + start, tl.arange(0, BLOCK_B), tl.arange(0, CHUNK)
    rows, size = r < B - start, tl.minimum(I - c * CHUNK, CHUNK)
    tile = r[:, None] * I + k[None, :]
    x_row = x + (first * I + c * CHUNK) + tile
    w_row = weight + (e * O * I + c * CHUNK) + k
    total = tl.zeros((BLOCK_B, CHUNK), x.dtype.element_ty)
    for o in range(O):
        scale = _scale(dy + first * O, products + first * O * C, r * O + o, c, C, rows)
        others = _without_each(x_row, w_row, k, size, rows) * scale[:, None]
        total += others * tl.load(w_row, mask=k < size, other=0)[None, :]
        w_row += I
    tl.store(dx + (first * I + c * CHUNK) + tile, total, mask=rows[:, None] & (k < size)[None, :])


@triton.jit
def backward_weight(
    dy,
    x,
    weight,
    products,
    partial,
    E,
    B,
    I,
    O,
    C,
    BLOCK_B: tl.constexpr,
    CHUNK: tl.constexpr,
    SPLIT: tl.constexpr,
):
    """partial (S,E,O,I): a program owns one chunk of one output and adds over SPLIT rows in their order."""
    program = tl.program_id(0).to(tl.int64)
    c, o = (program % C).to(tl.int32), (program // C % O).to(tl.int32)
    e, split = program // C // O % E, (program // C // O // E).to(tl.int32)
    r, k = tl.arange(0, BLOCK_B), tl.arange(0, CHUNK)
    size, tile = tl.minimum(I - c * CHUNK, CHUNK), r[:, None] * I + k[None, :]
    w_row = weight + ((e * O + o) * I + c * CHUNK) + k
    total = tl.zeros((CHUNK,), x.dtype.element_ty)
    for start in range(split * SPLIT, tl.minimum(split * SPLIT + SPLIT, B), BLOCK_B):
        rows, first = r < B - start, e * B + start
        x_row = x + (first * I + c * CHUNK) + tile
        scale = _scale(dy + first * O, products + first * O * C, r * O + o, c, C, rows)
        others = _without_each(x_row, w_row, k, size, rows) * scale[:, None]
        inside = rows[:, None] & (k < size)[None, :]
        # an infinite weight times the 0 outside the batch is NaN: such rows are left out, not multiplied by 0
        total += tl.sum(tl.where(inside, others * (tl.load(x_row, mask=inside, other=1) - 1), 0), 0)
    tl.store(partial + (((split * E + e) * O + o) * I + c * CHUNK) + k, total, mask=k < size)


def _products(x: Tensor, weight: Tensor, chunk: int, chunks: int) -> Tensor:
    models, batch, inputs = x.shape
    outputs = weight.shape[1]
    products = torch.empty((models, batch, outputs, chunks), dtype=x.dtype, device=x.device)
    grid = models * triton.cdiv(batch, BLOCK_B) * triton.cdiv(outputs, BLOCK_O) * chunks
    if grid:
        with device_of(x):
            chunk_products[(grid,)](
                x, weight, products, batch, inputs, outputs, chunks, chunk, BLOCK_B=BLOCK_B, BLOCK_O=BLOCK_O
            )
    return products


def nmu_forward(x: Tensor, weight: Tensor) -> Tensor:
    """x (E,B,I), weight (E,O,I) -> y (E,B,O); any of the sizes may be 0."""
    return _products(x.contiguous(), weight.contiguous(), x.shape[2], 1)[..., 0]


def nmu_backward(dy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """dy (E,B,O), x (E,B,I), weight (E,O,I) -> dx (E,B,I), dweight (E,O,I)."""
    dy, x, weight = dy.contiguous(), x.contiguous(), weight.contiguous()
    models, batch, inputs = x.shape
    outputs = weight.shape[1]
    chunk = min(CHUNK, triton.next_power_of_2(max(inputs, 1)))
    chunks = triton.cdiv(inputs, chunk)
    products = _products(x, weight, chunk, chunks)
    dx = torch.empty_like(x)
    partial = torch.empty((splits(batch), *weight.shape), dtype=x.dtype, device=x.device)
    sizes = (batch, inputs, outputs, chunks)
    with device_of(x):
        if dx.numel():
            grid = models * triton.cdiv(batch, BLOCK_B) * chunks
            backward_x[(grid,)](dy, x, weight, products, dx, *sizes, BLOCK_B=BLOCK_B, CHUNK=chunk)
        if partial.numel():
            grid = partial.shape[0] * models * outputs * chunks
            backward_weight[(grid,)](
                dy, x, weight, products, partial, models, *sizes, BLOCK_B=BLOCK_B, CHUNK=chunk, SPLIT=SPLIT
            )
    return dx, add_splits(partial)
