"""Multiplicative accumulators: what `mathkernels.ops.nac_mul`, `nac_sigma` and `nac_nmu` mean."""

import torch
from torch import Tensor

from mathkernels.reference.nac import nac_weight


def exp_log(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x (E,B,I), weight (E,O,I) -> (E,B,O):  z = exp(sum_i W_i ln(|x_i| + eps))."""
    return torch.einsum("ebi,eoi->ebo", torch.log(x.abs() + epsilon), weight).exp()


def nac_mul(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """NAC. (Trask et al. 2018): weight (E,O,2I) of What, Mhat;  W = tanh(What) sigmoid(Mhat)."""
    weight_hat, m_hat = weight.chunk(2, dim=-1)
    return exp_log(x, nac_weight(weight_hat, m_hat), epsilon)


def nac_sigma(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """NAC-sigma (Madsen & Johansen 2020): weight (E,O,I);  W = sigmoid(weight)."""
    return exp_log(x, torch.sigmoid(weight), epsilon)


def nac_nmu(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """NAC-NMU (Madsen & Johansen 2020): weight (E,O,I) is W itself."""
    return exp_log(x, weight, epsilon)
