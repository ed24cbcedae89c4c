"""Real neural power unit (Heim, Pevny & Smidl 2020, eq. 8 to 10): what `mathkernels.ops.real_npu` means."""

import math

import torch
from torch import Tensor


def real_npu(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float) -> Tensor:
    """x (E,B,I), weight (E,O,I), gate (E,I) -> (E,B,O).

    h_i = clamp(g_i, 0, 1),  r_i = h_i (|x_i| + eps) + 1 - h_i,  k_i = pi h_i [x_i < 0]
    z = exp(sum_i W_i ln r_i) cos(sum_i W_i k_i)
    """
    relevance = gate.clamp(0, 1)[:, None]
    magnitude = relevance * (x.abs() + epsilon) + (1 - relevance)
    angle = math.pi * relevance * (x < 0).to(x.dtype)
    power = torch.einsum("ebi,eoi->ebo", magnitude.log(), weight)
    return power.exp() * torch.einsum("ebi,eoi->ebo", angle, weight).cos()
