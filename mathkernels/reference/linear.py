"""Linear layer: what `mathkernels.ops.linear` means."""

import torch
from torch import Tensor


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (E,B,I), weight (E,O,I+1) -> (E,B,O):  y = sum_i W_i x_i + W_I, the bias in the last column."""
    return torch.einsum("ebi,eoi->ebo", x, weight[..., :-1]) + weight[:, None, :, -1]
