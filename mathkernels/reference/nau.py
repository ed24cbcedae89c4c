"""Neural addition unit (Madsen & Johansen 2020, eq. 7): what `mathkernels.ops.nau` means."""

import torch
from torch import Tensor


def nau(x: Tensor, weight: Tensor) -> Tensor:
    """x (E,B,I), weight (E,O,I) -> (E,B,O):  z = sum_i clamp(W_i, -1, 1) x_i."""
    return torch.einsum("ebi,eoi->ebo", x, weight.clamp(-1, 1))
