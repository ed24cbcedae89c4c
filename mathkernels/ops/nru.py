"""Neural reciprocal unit (Mistry, Farrahi & Hare 2021) for E independent models."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit

define_unit("nru", reference.nru, {"weight": "E,O,I"}, ("bool training",))
define_unit("nru_separate", reference.nru_separate, {"weight": "E,O,I"}, ("bool training",))


def nru(x: Tensor, weight: Tensor, training: bool = True) -> Tensor:
    """Apply E neural reciprocal units at once: z = prod_i (sign(x_i) |x_i|^W_i T_i + 1 - T_i).

    Args:
        x: inputs, (E,B,I), float32 or float64. There is no epsilon and sign(0) = 0: an input of 0
            under a negative weight gives NaN, as in the paper's own code.
        weight: (E,O,I), dtype and device of ``x``.
        training: T = tanh(1000 W)^2 if true, else |W|. Both can be differentiated.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nru", x, weight, training)


def nru_separate(x: Tensor, weight: Tensor, training: bool = True) -> Tensor:
    """Apply E neural reciprocal units at once that multiply magnitudes and signs apart.

    z = prod_i (|x_i|^W_i T_i + 1 - T_i) prod_i sign(x_i)^round(W_i), with the T of `nru`. The product of the
    signs is a constant in backward; halves are rounded to even.

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,I), dtype and device of ``x``.
        training: T = tanh(1000 W)^2 if true, else |W|. Both can be differentiated.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nru_separate", x, weight, training)
