"""Reciprocal that is limited near 0. The definition is this project's; no paper that we follow gives one."""

import math

import torch
from torch import Tensor

from mathkernels import _C
from mathkernels.backends import record
from mathkernels.ops._library import (
    DTYPES,
    NO_GPU_KERNEL,
    check_dtype,
    check_like,
    define,
    map_elements,
)
from mathkernels.ops._twice import twice
from mathkernels.reference.clipped_reciprocal import clipped_reciprocal as reference
from mathkernels.reference.clipped_reciprocal import clipped_reciprocal_backward as reference_backward


def _fake(x: Tensor, limit: float) -> Tensor:
    check_dtype("clipped_reciprocal", "x", x)
    if not 0 < limit < math.inf:
        raise ValueError(f"clipped_reciprocal: limit is {limit}; needs a positive finite number")
    return x.new_empty(x.shape)


def _cpu(x: Tensor, limit: float) -> Tensor:
    y = _fake(x, limit)
    x = x.contiguous()
    _C.clipped_reciprocal_forward(
        DTYPES.index(x.dtype), x.numel(), limit, x.data_ptr(), y.data_ptr(), torch.get_num_threads()
    )
    record("clipped_reciprocal")
    return y


def _cuda(x: Tensor, limit: float) -> Tensor:
    _fake(x, limit)
    record("clipped_reciprocal", "torch", NO_GPU_KERNEL)
    return reference(x, limit)


def _fake_backward(dy: Tensor, x: Tensor, limit: float) -> Tensor:
    check_like("clipped_reciprocal_backward", dy=dy, x=x)
    return _fake(x, limit)


def _cpu_backward(dy: Tensor, x: Tensor, limit: float) -> Tensor:
    dx = _fake_backward(dy, x, limit)
    dy, x = dy.contiguous(), x.contiguous()
    pointers = dy.data_ptr(), x.data_ptr(), dx.data_ptr()
    _C.clipped_reciprocal_backward(
        DTYPES.index(x.dtype), x.numel(), limit, *pointers, torch.get_num_threads()
    )
    record("clipped_reciprocal_backward")
    return dx


def _cuda_backward(dy: Tensor, x: Tensor, limit: float) -> Tensor:
    _fake_backward(dy, x, limit)
    record("clipped_reciprocal_backward", "torch", NO_GPU_KERNEL)
    return reference_backward(dy, x, limit)


_forward_op = define("clipped_reciprocal(Tensor x, float limit) -> Tensor", _fake, _cpu, _cuda, map_elements)
_backward_op = define(
    "clipped_reciprocal_backward(Tensor dy, Tensor x, float limit) -> Tensor",
    _fake_backward,
    _cpu_backward,
    _cuda_backward,
    map_elements,
)
twice(_forward_op, _backward_op, 1, lambda dy, x, limit: (reference_backward(dy, x, limit),))


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
        TypeError: the dtype is not supported.
    """
    return _forward_op(x, limit)
