"""Penalties that pull weights towards whole numbers (Madsen & Johansen 2020; Mistry et al. 2021)."""

import math

import torch
from torch import Tensor

from mathkernels import _C
from mathkernels.ops._dispatch import Kernels
from mathkernels.ops._library import DTYPES, check, check_dtype
from mathkernels.ops._twice import Derivative, define_twice
from mathkernels.reference.discretisation import discretisation as reference
from mathkernels.reference.discretisation import discretisation_backward as reference_backward

KINDS = ("unit", "ternary", "signed-unit")


def _rule(weight: Tensor, kind: str) -> Tensor:
    check_dtype("discretisation", "weight", weight)
    if kind not in KINDS:
        raise ValueError(f"discretisation: kind is {kind!r}; needs one of {', '.join(map(repr, KINDS))}")
    if weight.dim() == 0:
        raise ValueError("discretisation: weight is a single number; needs (E,...)")
    return weight.new_empty(weight.shape[0])


def _sizes(weight: Tensor, kind: str) -> tuple[int, int, int, int]:
    penalty = _C.penalties[kind.replace("-", "_")]
    return DTYPES.index(weight.dtype), penalty, weight.shape[0], math.prod(weight.shape[1:])


def _cpu(weight: Tensor, kind: str) -> Tensor:
    y = _rule(weight, kind)
    dtype, penalty, models, count = _sizes(weight, kind)
    weight = weight.contiguous()
    workspace = torch.empty(
        _C.discretisation_workspace(dtype, models, count), dtype=torch.uint8, device="cpu"
    )
    pointers = weight.data_ptr(), y.data_ptr(), workspace.data_ptr()
    _C.discretisation_forward(dtype, penalty, models, count, *pointers, torch.get_num_threads())
    return y


def _rule_backward(dy: Tensor, weight: Tensor, kind: str) -> Tensor:
    _rule(weight, kind)
    rows = weight.flatten(1) if weight.dim() > 1 else weight[:, None]
    check("discretisation_backward", weight=(rows, "E,N"), dy=(dy, "E"))
    return weight.new_empty(weight.shape)


def _cpu_backward(dy: Tensor, weight: Tensor, kind: str) -> Tensor:
    dweight = _rule_backward(dy, weight, kind)
    dy, weight = dy.contiguous(), weight.contiguous()
    pointers = dy.data_ptr(), weight.data_ptr(), dweight.data_ptr()
    _C.discretisation_backward(*_sizes(weight, kind), *pointers, torch.get_num_threads())
    return dweight


_op = define_twice(
    (
        "discretisation(Tensor weight, str kind) -> Tensor",
        "discretisation_backward(Tensor dy, Tensor weight, str kind) -> Tensor",
    ),
    Kernels(_rule, _cpu, reference),
    Kernels(_rule_backward, _cpu_backward, reference_backward),
    Derivative(1, lambda dy, weight, kind: (reference_backward(dy, weight, kind),)),
)


def discretisation(weight: Tensor, kind: str) -> Tensor:
    """The mean penalty of each model's weights.

    Args:
        weight: (E,...), float32 or float64.
        kind: "unit" is min(|w|, |1 - w|), zero at 0 and 1; "ternary" is min(|w|, |1 - |w||), zero at -1,
            0 and 1; "signed-unit" is |1 - |w||, zero at -1 and 1.

    Returns:
        (E), the mean over a model's weights; NaN if it has none. Slopes are 0 at every kink, and the mean of
        both sides where the branches of min meet, as torch has them.

    Raises:
        ValueError: the kind is unknown, or weight has no model axis.
        TypeError: the dtype is not supported, or the tensor is on a GPU and plain torch is not enabled by
            ``backends.enable("torch")``.
    """
    return _op(weight, kind)
