"""Multiplicative accumulators for E independent models: z = exp(sum_i W_i ln(|x_i| + epsilon)).

The sign of x is lost. The units differ in how their weights are made of trained numbers.
"""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit

EPSILON = 1e-7  # of the papers

define_unit("nac_mul", reference.nac_mul, {"weight": "E,O,2I"}, ("float epsilon",))
define_unit("nac_sigma", reference.nac_sigma, {"weight": "E,O,I"}, ("float epsilon",))
define_unit("nac_nmu", reference.nac_nmu, {"weight": "E,O,I"}, ("float epsilon",))


def nac_mul(x: Tensor, weight: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E multiplicative accumulators (Trask et al. 2018) at once: W = tanh(weight_hat) sigmoid(m_hat).

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,2I), weight_hat and then m_hat of each output; dtype and device of ``x``.
        epsilon: added to |x|.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nac_mul", x, weight, epsilon)


def nac_sigma(x: Tensor, weight: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E multiplicative accumulators with weights in (0, 1) at once: W = sigmoid(weight).

    Source: Madsen & Johansen 2020, NAC-sigma.

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,I), dtype and device of ``x``.
        epsilon: added to |x|.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nac_sigma", x, weight, epsilon)


def nac_nmu(x: Tensor, weight: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E multiplicative accumulators at once that are trained as an NMU is: W = weight.

    Source: Madsen & Johansen 2020, NAC-NMU.

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,I), dtype and device of ``x``; nothing is clamped.
        epsilon: added to |x|.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nac_nmu", x, weight, epsilon)
