"""Neural power unit (Heim, Pevny & Smidl 2020, eq. 5 to 7): what `mathkernels.ops.npu` means."""

import math

import torch
from torch import Tensor


def npu(x: Tensor, weight: Tensor, imaginary: Tensor, gate: Tensor, epsilon: float) -> Tensor:
    """x (E,B,I), weight and imaginary (E,O,I), gate (E,I) -> (E,B,O), with W = weight, V = imaginary.

    h_i = clamp(g_i, 0, 1),  r_i = h_i (|x_i| + eps) + 1 - h_i,  k_i = pi h_i [x_i < 0]
    z = exp(sum_i W_i ln r_i - V_i k_i) cos(sum_i W_i k_i + V_i ln r_i)
    """
    relevance = gate.clamp(0, 1)[:, None]
    magnitude = (relevance * (x.abs() + epsilon) + (1 - relevance)).log()
    angle = math.pi * relevance * (x < 0).to(x.dtype)

    def along(values: Tensor, weights: Tensor) -> Tensor:
        return torch.einsum("ebi,eoi->ebo", values, weights)

    power = along(magnitude, weight) - along(angle, imaginary)
    return power.exp() * (along(angle, weight) + along(magnitude, imaginary)).cos()
