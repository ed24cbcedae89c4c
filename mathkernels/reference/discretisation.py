"""Penalties that pull weights towards whole numbers: what `mathkernels.ops.discretisation` means."""

import torch
from torch import Tensor


def discretisation(weight: Tensor, kind: str) -> Tensor:
    """weight (E,...) -> (E), the mean over a model's weights of its kind's penalty.

    "unit"         min(|w|, |1 - w|)      Madsen & Johansen 2020: NMU; Mistry et al. 2021: NMRU and gates
    "ternary"      min(|w|, |1 - |w||)    Madsen & Johansen 2020: NAU; Mistry et al. 2021: NRU, Real NPU
    "signed-unit"  |1 - |w||              Mistry et al. 2021: Real NPU

    Slopes are torch's: 0 at every kink, the mean of both sides where the branches of min meet.
    """
    to_zero = weight.abs()
    if kind == "unit":
        penalty = torch.minimum(to_zero, (1 - weight).abs())
    elif kind == "ternary":
        penalty = torch.minimum(to_zero, (1 - to_zero).abs())
    elif kind == "signed-unit":
        penalty = (1 - to_zero).abs()
    else:
        raise ValueError(f"discretisation: kind is {kind!r}; needs 'unit', 'ternary' or 'signed-unit'")
    return penalty.flatten(1).mean(1) if weight.dim() > 1 else penalty


def discretisation_backward(dy: Tensor, weight: Tensor, kind: str) -> Tensor:
    """dy (E) -> dweight (E,...)."""
    return torch.func.vjp(lambda w: discretisation(w, kind), weight)[1](dy)[0]
