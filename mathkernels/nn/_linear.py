"""The linear maps around attention: rows that do not depend on their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from mathkernels.ops import nau


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, bfloat16: bool = False) -> Tensor:
    """x (E,B,I), weight (E,O,I), bias (E,O) -> (E,B,O); with bfloat16 both factors are rounded to it.

    torch's products give a row other bits in another batch. The addition unit does not, but keeps weights in
    [-1, 1]: larger ones are divided by a power of two first.
    """
    if bfloat16:
        x, weight = x.bfloat16().float(), weight.bfloat16().float()
    if weight.numel() == 0:
        y = torch.einsum("ebi,eoi->ebo", x, weight)
    else:
        largest = weight.detach().abs().amax((1, 2), keepdim=True).clamp(min=1)
        scale = torch.exp2(torch.log2(largest).ceil())
        y = nau(x, weight / scale) * scale
    return y if bias is None else y + bias[:, None]
