"""Random sizes, numbers and strides of tensors."""

from __future__ import annotations

import math

from torch import Tensor

from fuzzing.calls import Draw

# nothing, one, primes, packs of 4, 8, 16 and 32 and their neighbours
MODELS = (1, 1, 1, 2, 3, 5)
ROWS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)
FEW = (1, 1, 2, 3, 5, 7, 8, 9)
MANY = (127, 128, 255, 257, 300, 513)
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, math.nan, math.inf, -math.inf, 1e-40, -1e-40, 1e-30, 3e38, 1e19, -1e-7)


def size(draw: Draw, of: tuple[int, ...], most: int = 600, empty: float = 0.01) -> int:
    """A size of one of these, sometimes 0, rarely a larger one."""
    if draw.holds(empty):
        return 0
    return min(most, draw.choice(MANY)) if draw.holds(0.02) else min(most, draw.choice(of))


def changed(draw: Draw, tensor: Tensor) -> Tensor:
    """The tensor with other numbers: scaled, with zeros, or with special values at some places."""
    if not tensor.is_floating_point() or not tensor.numel():
        return tensor
    how = draw.random()
    if how < 0.55:
        return tensor
    tensor = tensor.clone()
    if how < 0.7:
        return tensor * 10.0 ** draw.uniform(-4, 2)
    flat = tensor.view(-1)
    values = SPECIAL[:5] if how < 0.85 else SPECIAL
    for _ in range(draw.choice((1, 1, 2, 5))):
        flat[draw.randrange(len(flat))] = draw.choice(values)
    return tensor


def strided(draw: Draw, tensor: Tensor) -> Tensor:
    """The same numbers at other places of memory: turned axes, gaps, an offset."""
    how = draw.random()
    if how < 0.5 or tensor.dim() == 0:
        return tensor
    if how < 0.65:
        at = draw.randrange(tensor.dim())
        return tensor.movedim(at, 0).contiguous().movedim(0, at)
    if how < 0.8:
        step = draw.choice((2, 3))
        wide = tensor.new_zeros(*tensor.shape[:-1], max(1, tensor.shape[-1] * step))
        part = wide[..., : tensor.shape[-1] * step : step]
        return part.copy_(tensor)
    offset = draw.choice((1, 3))
    memory = tensor.new_zeros(tensor.numel() + offset)
    return memory[offset:].view(tensor.shape).copy_(tensor)
