"""Neural accumulator, NAC+ (Trask et al. 2018, eq. 1): what `mathkernels.ops.nac` means."""

import math

import torch
from torch import Tensor


def nac_weight(weight_hat: Tensor, m_hat: Tensor, base: float = math.e) -> Tensor:
    """The weights in (-1, 1) of the NAC and what builds on it: tanh(weight_hat) sigmoid(m_hat), any shape.

    To another base, tanh is (base^2a - 1) / (base^2a + 1) and sigmoid 1 / (1 + base^-b).
    """
    unit = math.log(base)
    return torch.tanh(weight_hat * unit) * torch.sigmoid(m_hat * unit)


def nac(x: Tensor, weight: Tensor) -> Tensor:
    """x (E,B,I), weight (E,O,2I) of weight_hat, m_hat -> (E,B,O):  z = sum_i W_i x_i."""
    weight_hat, m_hat = weight.chunk(2, dim=-1)
    return torch.einsum("ebi,eoi->ebo", x, nac_weight(weight_hat, m_hat))
