"""Neural arithmetic logic units for E independent models: z = h a + (1 - h) m, h = sigmoid(sum_i G_i x_i)."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit
from mathkernels.ops.nac_mul import EPSILON

define_unit("nalu", reference.nalu, {"weight": "E,O,3I"}, ("float epsilon",))
define_unit("nalu_separate", reference.nalu_separate, {"weight": "E,O,5I"}, ("float epsilon",))
define_unit("nalu_nau_nmu", reference.nalu_nau_nmu, {"weight": "E,O,3I"})
define_unit("gnalu", reference.gnalu, {"weight": "E,O,3I"}, ("float epsilon",))


def nalu(x: Tensor, weight: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E NALUs (Trask et al. 2018) at once; both paths share W = tanh(weight_hat) sigmoid(m_hat).

    a = sum_i W_i x_i and m = exp(sum_i W_i ln(|x_i| + epsilon)).

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,3I), weight_hat, m_hat and gate of each output; dtype and device of ``x``.
        epsilon: added to |x| in the logarithm.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nalu", x, weight, epsilon)


def nalu_separate(x: Tensor, weight: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E NALUs at once whose paths have weights of their own.

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,5I), of each output weight_hat and m_hat of a, those of m, and gate; dtype and device of
            ``x``.
        epsilon: added to |x| in the logarithm.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nalu_separate", x, weight, epsilon)


def nalu_nau_nmu(x: Tensor, weight: Tensor) -> Tensor:
    """Apply E pairs of an NAU and an NMU under a gate at once (Madsen & Johansen 2020).

    a = sum_i clamp(A_i, -1, 1) x_i and m = prod_i (M_i x_i + 1 - M_i).

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,3I), A, M and gate of each output; dtype and device of ``x``.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nalu_nau_nmu", x, weight)


def gnalu(x: Tensor, weight: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E G-NALUs at once: NALUs with tanh and sigmoid to the base (1 + sqrt 5) / 2.

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,3I), weight_hat, m_hat and gate of each output; dtype and device of ``x``.
        epsilon: added to |x| in the logarithm.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("gnalu", x, weight, epsilon)
