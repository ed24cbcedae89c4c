"""An arithmetic unit of two inputs along a sequence of scalars, for E independent models."""

from __future__ import annotations

import torch
from torch import Tensor

from mathkernels import _C, reference
from mathkernels.ops._dispatch import Kernels
from mathkernels.ops._library import DTYPES, check
from mathkernels.ops._twice import Derivative, define_twice, pullback_of, reference_backward
from mathkernels.ops.nac_mul import EPSILON
from mathkernels.reference.recurrent import UNITS

_KINDS: dict[str, int] = _C.recurrent_kinds


def recurrent_unit(
    l: Tensor, weight: Tensor, initial: Tensor | float, unit: str, epsilon: float = EPSILON
) -> Tensor:
    """Run E units along sequences at once: h_t = unit([l_t, h_{t-1}]), with h_0 = ``initial``.

    Args:
        l: one scalar for each step and sample, (E,T,B), float32 or float64.
        weight: (E,P), the trained numbers of a unit of two inputs and one output, in the order of its layer's
            op; dtype and device of ``l``. Nothing is clamped but what the layer clamps itself.
        initial: the state before the first step, (E,B) as a tensor like ``l``, or one number for all.
        unit: "nac" (P = 4), "nac_mul" (4), "nac_sigma" (2), "nac_nmu" (2), "nalu" (6), "nau" (2), "nmu" (2).
        epsilon: added to |x| in logarithms; "nac", "nau" and "nmu" have none.

    Returns:
        All states h_1 … h_T, (E,T,B) in the dtype of ``l``. Differentiable to any order.

    Raises:
        ValueError: the unit is unknown, or shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported. CUDA tensors are not, unless
            ``backends.enable("torch")`` lets plain torch compute them.

    Source: Madsen & Johansen 2020, *Neural Arithmetic Units*, section 4.2.
    """
    if not isinstance(initial, Tensor) and l.dim() == 3:
        initial = l.new_full((l.shape[0], l.shape[2]), initial)
    elif not isinstance(initial, Tensor):
        initial = l.new_full((), initial)  # the shape rule names what is wrong with l
    return _op(l, weight, initial, unit, epsilon)


def _rule(l: Tensor, weight: Tensor, initial: Tensor, unit: str, epsilon: float) -> Tensor:
    if unit not in UNITS:
        raise ValueError(f"recurrent_unit: unit is {unit!r}; needs one of {', '.join(map(repr, UNITS))}")
    size = check("recurrent_unit", l=(l, "E,T,B"), weight=(weight, "E,P"), initial=(initial, "E,B"))
    if size["P"] != UNITS[unit][1]:
        right = f"(E,{UNITS[unit][1]}) for unit {unit!r}"
        raise ValueError(f"recurrent_unit: weight has shape {tuple(weight.shape)}; needs {right}")
    return l.new_empty(l.shape)


def _rule_backward(
    dh: Tensor, l: Tensor, weight: Tensor, initial: Tensor, h: Tensor, unit: str, epsilon: float
) -> tuple[Tensor, ...]:
    _rule(l, weight, initial, unit, epsilon)
    check("recurrent_unit_backward", l=(l, "E,T,B"), h=(h, "E,T,B"), dh=(dh, "E,T,B"))
    return l.new_empty(l.shape), weight.new_empty(weight.shape), initial.new_empty(initial.shape)


def _call(l: Tensor, unit: str, epsilon: float) -> object:
    dtype, threads = DTYPES.index(l.dtype), torch.get_num_threads()
    return _C.recurrent_call(_KINDS[unit], dtype, epsilon, *l.shape, threads)


def _cpu(l: Tensor, weight: Tensor, initial: Tensor, unit: str, epsilon: float) -> Tensor:
    h = _rule(l, weight, initial, unit, epsilon)
    tensors = (l.contiguous(), weight.contiguous(), initial.contiguous(), h)
    _C.recurrent_forward(_call(l, unit, epsilon), *(tensor.data_ptr() for tensor in tensors))
    return h


def _cpu_backward(
    dh: Tensor, l: Tensor, weight: Tensor, initial: Tensor, h: Tensor, unit: str, epsilon: float
) -> tuple[Tensor, ...]:
    gradients = _rule_backward(dh, l, weight, initial, h, unit, epsilon)
    call = _call(l, unit, epsilon)
    workspace = torch.empty(_C.recurrent_backward_workspace(call), dtype=torch.uint8, device="cpu")
    given = [tensor.contiguous() for tensor in (dh, l, weight, initial, h)]
    _C.recurrent_backward(call, *(tensor.data_ptr() for tensor in (*given, *gradients, workspace)))
    return gradients


_ARGUMENTS = "Tensor l, Tensor weight, Tensor initial"
_PULLBACK = pullback_of(reference.recurrent_unit, 3)
_op = define_twice(
    (
        f"recurrent_unit({_ARGUMENTS}, str unit, float epsilon) -> Tensor",
        f"recurrent_unit_backward(Tensor dh, {_ARGUMENTS}, Tensor h, str unit, float epsilon)"
        " -> (Tensor, Tensor, Tensor)",
    ),
    Kernels(_rule, _cpu, reference.recurrent_unit),
    Kernels(_rule_backward, _cpu_backward, reference_backward(_PULLBACK, 3, kept=1)),
    Derivative(3, _PULLBACK, keeps_output=True),
)
