"""Neural multiplication unit (Madsen & Johansen 2020) for E independent models."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit

define_unit("nmu", reference.nmu, {"weight": "E,O,I"}, triton=True)


def nmu(x: Tensor, weight: Tensor) -> Tensor:
    """Apply E neural multiplication units at once: z = prod_i (W_i x_i + 1 - W_i).

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,I), dtype and device of ``x``; nothing is clamped.

    Returns:
        (E,B,O) in the input's dtype, by the Triton kernel for CUDA tensors. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported.
    """
    return apply_unit("nmu", x, weight)
