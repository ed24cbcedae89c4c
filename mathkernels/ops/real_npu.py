"""Real neural power unit (Heim, Pevny & Smidl 2020) for E independent models."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit

EPSILON = 2.0**-23  # eps32 of Mistry et al. 2021: the spacing of float32 at 1

define_unit(
    "real_npu", reference.real_npu, {"weight": "E,O,I", "gate": "E,I"}, ("float epsilon",), triton=True
)


def real_npu(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E real neural power units at once: z = exp(sum_i W_i ln r_i) cos(sum_i W_i k_i).

    With h = clamp(gate, 0, 1): r_i = h_i (|x_i| + epsilon) + 1 - h_i and k_i = pi h_i [x_i < 0].

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,I); gate: (E,I), shared by the outputs of a model; dtype and device of ``x``.
        epsilon: added to |x|, in training and evaluation alike.

    Returns:
        (E,B,O) in the input's dtype, by the Triton kernel for CUDA tensors. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported.
    """
    return apply_unit("real_npu", x, weight, epsilon, gate=gate)
