"""First values as Keras draws them for LSTMs, dense layers and batch norms, in torch's names and layout."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mathkernels.initial.widths import glorot_bound

GATES = 4  # of an LSTM: i, f, g, o


def glorot_(weight: Tensor, source: torch.Generator) -> Tensor:
    """Fill a matrix (O,I) with uniform numbers within ± sqrt(6 / (I + O)).

    The kernel of an LSTM is one matrix of all gates, so that O is 4H.
    """
    bound = glorot_bound(*weight.shape)
    return weight.uniform_(-bound, bound, generator=source)


def orthogonal_(weight: Tensor, source: torch.Generator) -> Tensor:
    """Fill a matrix (4H,H) with orthonormal columns: Keras' (H,4H) kernel has orthonormal rows.

    In float64 numpy factorises: torch's routine waits for threads that a forked process does not have.
    """
    if weight.dtype != torch.float64:
        return torch.nn.init.orthogonal_(weight, generator=source)
    q, r = np.linalg.qr(weight.normal_(generator=source).numpy())
    return weight.copy_(torch.from_numpy(q * np.sign(r.diagonal())))


def draw(
    shapes: Mapping[str, tuple[int, ...]],
    source: torch.Generator,
    *,
    forget_bias: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Return first values by name, drawn in the order of the names.

    Input weights are Glorot-uniform, recurrent weights orthogonal over all gates together; biases are 0 but
    those of forget gates. Keras has one bias where torch has two, so bias_hh is 0 and should stay so. A norm
    begins with weight 1, bias 0, mean 0 and variance 1.

    Args:
        shapes: of one model's tensors; the part of a name after the last point says what a tensor is:
            weight_ih, weight_hh, bias_ih, bias_hh (with whatever suffix), weight, bias, running_mean,
            running_var.
        source: draws.
        forget_bias: of every cell.
        dtype: float32 or float64, which draw other numbers.
    """
    values = {}
    for name, shape in shapes.items():
        kind, value = name.rpartition(".")[2], torch.zeros(shape, dtype=dtype)
        if kind.startswith("weight_hh"):
            orthogonal_(value, source)
        elif kind.startswith("bias_ih"):
            hidden = len(value) // GATES
            value[hidden : 2 * hidden] = forget_bias
        elif kind.startswith("weight") and len(shape) == 2:
            glorot_(value, source)
        elif kind in ("weight", "running_var"):
            value.fill_(1)
        values[name] = value
    return values
