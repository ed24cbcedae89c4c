"""Calls of the compiled layer kernels (csrc/mathkernels.h), shared by the ops of the arithmetic modules."""

from __future__ import annotations

import torch
from torch import Tensor

from mathkernels import _C
from mathkernels.ops._library import DTYPES

_KINDS: dict[str, int] = _C.layer_kinds
# A cell counts its numbers, up to 6 I + 3 of them, in 32 bits.
_MOST_INPUTS = 2**28


def _call(kind: str, x: Tensor, weight: Tensor, training: bool, epsilon: float) -> object:
    if x.shape[2] > _MOST_INPUTS and (x.numel() or weight.numel()):
        raise ValueError(f"{kind}: x (E,B,I)={tuple(x.shape)} has {x.shape[2]} inputs; needs at most 2**28")
    threads = torch.get_num_threads()
    return _C.layer_call(
        _KINDS[kind], DTYPES.index(x.dtype), training, epsilon, *x.shape, weight.shape[1], threads
    )


def layer_forward(
    kind: str,
    x: Tensor,
    weight: Tensor,
    y: Tensor,
    *,
    gate: Tensor | None = None,
    training: bool = True,
    epsilon: float = 0.0,
) -> Tensor:
    """Fill and return y (E,B,O) from x (E,B,I), weight (E,O,I or 2I) and gate (E,I); shapes were checked."""
    call = _call(kind, x, weight, training, epsilon)
    x, weight = x.contiguous(), weight.contiguous()
    gate = weight if gate is None else gate.contiguous()
    workspace = torch.empty(_C.layer_forward_workspace(call), dtype=torch.uint8, device="cpu")
    tensors = (x, weight, gate, y, workspace)
    _C.layer_forward(call, *(tensor.data_ptr() for tensor in tensors))
    return y


def layer_backward(
    kind: str,
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    gradients: tuple[Tensor, ...],
    *,
    gate: Tensor | None = None,
    training: bool = True,
    epsilon: float = 0.0,
) -> tuple[Tensor, ...]:
    """Fill and return the gradients dx, dweight and, with a gate, dgate, from dy (E,B,O)."""
    call = _call(kind, x, weight, training, epsilon)
    dy, x, weight = dy.contiguous(), x.contiguous(), weight.contiguous()
    gate = weight if gate is None else gate.contiguous()
    workspace = torch.empty(_C.layer_backward_workspace(call), dtype=torch.uint8, device="cpu")
    tensors = (dy, x, weight, gate, gradients[0], gradients[1], gradients[-1], workspace)
    _C.layer_backward(call, *(tensor.data_ptr() for tensor in tensors))
    return gradients


def linear_weight_gradient(dy: Tensor, x: Tensor) -> Tensor:
    """The gradient of a linear layer's weights and bias, (E,O,I+1), from dy (E,B,O) and x (E,B,I)."""
    weight = x.new_empty(x.shape[0], dy.shape[2], x.shape[2] + 1)
    call = _call("linear", x, weight, True, 0.0)
    dy, x = dy.contiguous(), x.contiguous()
    workspace = torch.empty(_C.layer_backward_workspace(call), dtype=torch.uint8, device="cpu")
    at = weight.data_ptr()
    _C.layer_backward(call, dy.data_ptr(), x.data_ptr(), at, at, 0, at, at, workspace.data_ptr())
    return weight
