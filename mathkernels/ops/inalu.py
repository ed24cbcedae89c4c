"""Improved NALU (Schloer, Ring & Hotho 2020) for E independent models."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit
from mathkernels.ops.nac_mul import EPSILON

define_unit("inalu", reference.inalu, {"weight": "E,O,4I+1"}, ("float epsilon",))


def inalu(x: Tensor, weight: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E improved NALUs at once: z = h a + (1 - h) m s with h = sigmoid(g).

    a = sum_i V_i x_i, m = exp(min(sum_i W_i ln max(|x_i|, epsilon), 20)) and
    s = prod_i (sign(x_i) |W_i| + 1 - |W_i|), with V and W each tanh(weight_hat) sigmoid(m_hat).

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,4I+1), of each output weight_hat and m_hat of V, those of W, and g; dtype and device of
            ``x``.
        epsilon: the smallest |x| that the logarithm sees.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("inalu", x, weight, epsilon)
