"""Reciprocal that is limited near 0. The definition is this project's; no paper that we follow gives one."""

import math

import torch
from torch import Tensor

from mathkernels import _C
from mathkernels.ops._dispatch import Kernels
from mathkernels.ops._library import DTYPES, check_dtype, check_like, map_elements
from mathkernels.ops._twice import Derivative, define_twice
from mathkernels.reference.clipped_reciprocal import clipped_reciprocal as reference
from mathkernels.reference.clipped_reciprocal import clipped_reciprocal_backward as reference_backward


def _rule(x: Tensor, limit: float) -> Tensor:
    check_dtype("clipped_reciprocal", "x", x)
    if not 0 < limit < math.inf:
        raise ValueError(f"clipped_reciprocal: limit is {limit}; needs a positive finite number")
    return x.new_empty(x.shape)


def _cpu(x: Tensor, limit: float) -> Tensor:
    y = _rule(x, limit)
    x = x.contiguous()
    _C.clipped_reciprocal_forward(
        DTYPES.index(x.dtype), x.numel(), limit, x.data_ptr(), y.data_ptr(), torch.get_num_threads()
    )
    return y


def _rule_backward(dy: Tensor, x: Tensor, limit: float) -> Tensor:
    check_like("clipped_reciprocal_backward", dy=dy, x=x)
    return _rule(x, limit)


def _cpu_backward(dy: Tensor, x: Tensor, limit: float) -> Tensor:
    dx = _rule_backward(dy, x, limit)
    dy, x = dy.contiguous(), x.contiguous()
    pointers = dy.data_ptr(), x.data_ptr(), dx.data_ptr()
    _C.clipped_reciprocal_backward(
        DTYPES.index(x.dtype), x.numel(), limit, *pointers, torch.get_num_threads()
    )
    return dx


_op = define_twice(
    (
        "clipped_reciprocal(Tensor x, float limit) -> Tensor",
        "clipped_reciprocal_backward(Tensor dy, Tensor x, float limit) -> Tensor",
    ),
    Kernels(_rule, _cpu, reference),
    Kernels(_rule_backward, _cpu_backward, reference_backward),
    Derivative(1, lambda dy, x, limit: (reference_backward(dy, x, limit),)),
    map_elements,
)


def clipped_reciprocal(x: Tensor, limit: float) -> Tensor:
    """1/x where |x| >= 1/limit; nearer to 0, limit with the sign of x (that of 0 is +).

    The slope is -1/x^2 outside and 0 inside. NaN stays NaN.

    Args:
        x: any shape, float32 or float64.
        limit: the largest magnitude of the result, positive and finite.

    Returns:
        The shape and dtype of ``x``. Differentiable to any order.

    Raises:
        ValueError: the limit is not a positive finite number.
        TypeError: the dtype is not supported, or the tensor is on a GPU and plain torch is not enabled by
            ``backends.enable("torch")``.
    """
    return _op(x, limit)
