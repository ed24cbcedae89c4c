"""Neural accumulator, NAC+ (Trask et al. 2018) for E independent models."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit

define_unit("nac", reference.nac, {"weight": "E,O,2I"})


def nac(x: Tensor, weight: Tensor) -> Tensor:
    """Apply E neural accumulators at once: z = sum_i W_i x_i with W = tanh(weight_hat) sigmoid(m_hat).

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,2I), weight_hat and then m_hat of each output; dtype and device of ``x``.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nac", x, weight)
