"""Neural multiplicative reciprocal unit (Mistry, Farrahi & Hare 2021) for E independent models."""

from torch import Tensor

from mathkernels import reference
from mathkernels.ops._units import apply_unit, define_unit

EPSILON = 2.0**-23  # eps32 of the paper: the spacing of float32 at 1

define_unit(
    "nmru",
    reference.nmru,
    {"weight": "E,O,2I"},
    ("float epsilon", "bool training", "bool sign_retrieval"),
    lambda epsilon, training, sign_retrieval: {
        "kind": "nmru" if sign_retrieval else "nmru_unsigned",
        "training": training,
        "epsilon": epsilon,
    },
)
define_unit(
    "nmru_gated",
    reference.nmru_gated,
    {"weight": "E,O,2I", "gate": "E,2I"},
    ("float epsilon", "bool training"),
)


def nmru(
    x: Tensor,
    weight: Tensor,
    epsilon: float = EPSILON,
    training: bool = True,
    sign_retrieval: bool = True,
) -> Tensor:
    """Apply E neural multiplicative reciprocal units at once, on u = [x, 1/(x + epsilon)].

    With sign retrieval z = prod_k (|u_k| W_k + 1 - W_k) cos(pi sum_k W_k [u_k < 0]),
    without z = prod_k (u_k W_k + 1 - W_k).

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,2I), of x first, then of the reciprocals; dtype and device of ``x``.
        epsilon: added to x before the reciprocal, in training only.
        training: false for u = [x, 1/x]. Both can be differentiated.
        sign_retrieval: multiply magnitudes and bring the sign back by the cosine (the paper's NMRU).

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nmru", x, weight, epsilon, training, sign_retrieval)


def nmru_gated(
    x: Tensor, weight: Tensor, gate: Tensor, epsilon: float = EPSILON, training: bool = True
) -> Tensor:
    """Apply E neural multiplicative reciprocal units at once, on gate_k u_k in place of u_k.

    z = prod_k (|g_k u_k| W_k + 1 - W_k) cos(pi sum_k W_k [g_k u_k < 0]) with u = [x, 1/(x + epsilon)].

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,2I), of x first, then of the reciprocals; dtype and device of ``x``.
        gate: (E,2I), shared by the outputs of a model; nothing is clamped.
        epsilon: added to x before the reciprocal, in training only.
        training: false for u = [x, 1/x]. Both can be differentiated.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.
    """
    return apply_unit("nmru_gated", x, weight, epsilon, training, gate=gate)
