"""Linear layer for E independent models, whose rows do not depend on the batch around them."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit

define_unit("linear", reference.linear, {"weight": "E,O,I+1"})


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Apply E linear layers at once: y = sum_i W_i x_i + W_I.

    Each output is one chain of fused multiply-adds, the bias first: the bits of a row depend neither on the
    other rows nor on threads, which torch's products do not promise.

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,I+1), the bias in the last column, dtype and device of ``x``.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported.
    """
    return apply_unit("linear", x, weight)
