"""Neural power unit (Heim, Pevny & Smidl 2020) for E independent models."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit
from mathkernels.ops.real_npu import EPSILON


def _packed(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float) -> Tensor:
    real, imaginary = weight.chunk(2, dim=-1)
    return reference.npu(x, real, imaginary, gate, epsilon)


define_unit("npu", _packed, {"weight": "E,O,2I", "gate": "E,I"}, ("float epsilon",))


def npu(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E neural power units with complex weights W + i V at once.

    With h = clamp(gate, 0, 1): r_i = h_i (|x_i| + epsilon) + 1 - h_i and k_i = pi h_i [x_i < 0];
    z = exp(sum_i (W_i ln r_i - V_i k_i)) cos(sum_i (W_i k_i + V_i ln r_i)).

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,2I), W and then V of each output; dtype and device of ``x``.
        gate: (E,I), shared by the outputs of a model.
        epsilon: added to |x|, in training and evaluation alike.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("npu", x, weight, epsilon, gate=gate)
