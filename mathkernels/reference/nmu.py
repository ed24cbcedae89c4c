"""Neural multiplication unit (Madsen & Johansen 2020, eq. 9): what `mathkernels.ops.nmu` means."""

import torch
from torch import Tensor


def nmu(x: Tensor, weight: Tensor) -> Tensor:
    """x (E,B,I), weight (E,O,I) -> (E,B,O):  z = prod_i (W_i x_i + 1 - W_i)."""
    x, weight = x[:, :, None], weight[:, None]
    return torch.prod(weight * x + 1 - weight, dim=-1)
