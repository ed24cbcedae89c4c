"""Improved NALU (Schloer, Ring & Hotho 2020): what `mathkernels.ops.inalu` means."""

import torch
from torch import Tensor

from mathkernels.reference.nac import nac_weight
from mathkernels.reference.nmu import product

LARGEST_POWER = 20


def inalu(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x (E,B,I), weight (E,O,4I+1) of weight_hat and m_hat of V, those of W, g -> (E,B,O).

    a = sum_i V_i x_i,  m = exp(min(sum_i W_i ln max(|x_i|, eps), 20)),  h = sigmoid(g)
    s = prod_i (sign(x_i) |W_i| + 1 - |W_i|),  z = h a + (1 - h) m s
    """
    I = x.shape[-1]
    weight_hat, m_hat, mul_weight_hat, mul_m_hat, gate = weight.split([I, I, I, I, 1], dim=-1)
    added = torch.einsum("ebi,eoi->ebo", x, nac_weight(weight_hat, m_hat))
    mul_weight = nac_weight(mul_weight_hat, mul_m_hat)
    power = torch.einsum("ebi,eoi->ebo", x.abs().clamp(min=epsilon).log(), mul_weight)
    kept = mul_weight.abs()[:, None]
    sign = product(x.sign()[:, :, None] * kept + (1 - kept))
    open_ = torch.sigmoid(gate).transpose(1, 2)
    return open_ * added + (1 - open_) * power.clamp(max=LARGEST_POWER).exp() * sign
