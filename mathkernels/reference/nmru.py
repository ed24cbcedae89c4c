"""Neural multiplicative reciprocal unit (Mistry, Farrahi & Hare 2021): what `mathkernels.ops.nmru` means."""

import math

import torch
from torch import Tensor

from mathkernels.reference.nmu import product


def nmru(x: Tensor, weight: Tensor, epsilon: float, training: bool, sign_retrieval: bool) -> Tensor:
    """x (E,B,I), weight (E,O,2I) -> (E,B,O), on u = [x, 1/(x + eps)] in training and [x, 1/x] in evaluation.

    with sign retrieval  z = prod_k (|u_k| W_k + 1 - W_k) cos(pi sum_k W_k [u_k < 0])
    without              z = prod_k (u_k W_k + 1 - W_k)
    """
    u = torch.cat([x, 1 / (x + epsilon if training else x)], dim=-1)[:, :, None]
    weight = weight[:, None]
    if not sign_retrieval:
        return product(u * weight + 1 - weight)
    magnitude = product(u.abs() * weight + 1 - weight)
    return magnitude * torch.cos(math.pi * (weight * (u < 0)).sum(dim=-1))


def nmru_gated(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float, training: bool) -> Tensor:
    """x (E,B,I), weight (E,O,2I), gate (E,2I) -> (E,B,O): sign retrieval on g_k u_k in place of u_k."""
    u = torch.cat([x, 1 / (x + epsilon if training else x)], dim=-1) * gate[:, None]
    u, weight = u[:, :, None], weight[:, None]
    magnitude = product(u.abs() * weight + 1 - weight)
    return magnitude * torch.cos(math.pi * (weight * (u < 0)).sum(dim=-1))
