"""Neural arithmetic logic units: what `nalu` and its relatives in `mathkernels.ops` mean.

Each is z = h a + (1 - h) m of an additive path a, a multiplicative path m, and a gate
h = sigmoid(sum_i G_i x_i).
"""

import math

import torch
from torch import Tensor

from mathkernels.reference.nac import nac_weight
from mathkernels.reference.nac_mul import exp_log
from mathkernels.reference.nau import nau
from mathkernels.reference.nmu import nmu

GOLDEN = (1 + math.sqrt(5)) / 2


def gated(x: Tensor, gate: Tensor, added: Tensor, multiplied: Tensor, base: float = math.e) -> Tensor:
    """x (E,B,I), gate (E,O,I), added and multiplied (E,B,O) -> (E,B,O)."""
    open_ = torch.sigmoid(torch.einsum("ebi,eoi->ebo", x, gate) * math.log(base))
    return open_ * added + (1 - open_) * multiplied


def nalu(x: Tensor, weight: Tensor, epsilon: float, base: float = math.e) -> Tensor:
    """NALU (Trask et al. 2018, eq. 2): weight (E,O,3I) of weight_hat, m_hat, gate; both paths share W.

    a = sum_i W_i x_i,  m = exp(sum_i W_i ln(|x_i| + eps))
    """
    weight_hat, m_hat, gate = weight.chunk(3, dim=-1)
    shared = nac_weight(weight_hat, m_hat, base)
    added = torch.einsum("ebi,eoi->ebo", x, shared)
    return gated(x, gate, added, exp_log(x, shared, epsilon), base)


def nalu_separate(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """NALU with weights of its own in each path: weight (E,O,5I), those of a, those of m, gate."""
    weight_hat, m_hat, mul_weight_hat, mul_m_hat, gate = weight.chunk(5, dim=-1)
    added = torch.einsum("ebi,eoi->ebo", x, nac_weight(weight_hat, m_hat))
    return gated(x, gate, added, exp_log(x, nac_weight(mul_weight_hat, mul_m_hat), epsilon))


def nalu_nau_nmu(x: Tensor, weight: Tensor) -> Tensor:
    """Gated NAU and NMU (Madsen & Johansen 2020): weight (E,O,3I) of the NAU, the NMU, the gate."""
    add, mul, gate = weight.chunk(3, dim=-1)
    return gated(x, gate, nau(x, add), nmu(x, mul))


def gnalu(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """G-NALU: the NALU with tanh and sigmoid to the base (1 + sqrt 5) / 2; m is the same to any base."""
    return nalu(x, weight, epsilon, GOLDEN)
