"""The linear maps around attention."""

from __future__ import annotations

import torch
from torch import Tensor

from mathkernels import ops


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, bfloat16: bool = False) -> Tensor:
    """x (E,B,I), weight (E,O,I), bias (E,O) -> (E,B,O); with bfloat16 both factors are rounded to it."""
    if bfloat16:
        x, weight = x.bfloat16().float(), weight.bfloat16().float()
    last = weight.new_zeros(weight.shape[:2]) if bias is None else bias
    return ops.linear(x, torch.cat([weight, last[..., None]], -1))
