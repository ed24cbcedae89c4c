"""Neural addition unit (Madsen & Johansen 2020) for E independent models."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit

define_unit("nau", reference.nau, {"weight": "E,O,I"})


def nau(x: Tensor, weight: Tensor) -> Tensor:
    """Apply E neural addition units at once: z = sum_i clamp(W_i, -1, 1) x_i.

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,I), dtype and device of ``x``.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nau", x, weight)
