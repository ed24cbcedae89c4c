"""Reciprocal limited near 0, as this project defines it: what `mathkernels.ops.clipped_reciprocal` means."""

import torch
from torch import Tensor


def clipped_reciprocal(x: Tensor, limit: float) -> Tensor:
    """1/x where |x| >= 1/limit, else limit with the sign of x (that of 0 is +); any shape."""
    near = x.abs() < 1 / limit
    away = torch.where(near, torch.ones_like(x), x)  # else the slope of 1/x at 0 would enter as 0 * inf
    clipped = torch.where(x < 0, -torch.ones_like(x), 1) * limit  # two numbers alone would make a float32
    return torch.where(near, clipped, 1 / away)


def clipped_reciprocal_backward(dy: Tensor, x: Tensor, limit: float) -> Tensor:
    """dx = -dy / x^2 where |x| >= 1/limit, else 0."""
    return torch.func.vjp(lambda t: clipped_reciprocal(t, limit), x)[1](dy)[0]
