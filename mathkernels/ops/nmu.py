"""Neural multiplication unit (Madsen & Johansen 2020) for E independent models."""

import torch
from torch import Tensor

from mathkernels.ops._layers import layer_backward, layer_forward
from mathkernels.ops._library import check, define, fold_models, keep_signature, triton_kernels
from mathkernels.reference.nmu import nmu_backward as reference_backward


def _fake(x: Tensor, weight: Tensor) -> Tensor:
    size = check("nmu", x=(x, "E,B,I"), weight=(weight, "E,O,I"))
    return x.new_empty(size["E"], size["B"], size["O"])


def _cpu(x: Tensor, weight: Tensor) -> Tensor:
    return layer_forward("nmu", x, weight, _fake(x, weight))


def _cuda(x: Tensor, weight: Tensor) -> Tensor:
    _fake(x, weight)
    return triton_kernels("nmu", "nmu", x).nmu_forward(x, weight)


def _fake_backward(dy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    check("nmu_backward", x=(x, "E,B,I"), weight=(weight, "E,O,I"), dy=(dy, "E,B,O"))
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _cpu_backward(dy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    return layer_backward("nmu", dy, x, weight, _fake_backward(dy, x, weight))


def _cuda_backward(dy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    _fake_backward(dy, x, weight)
    return triton_kernels("nmu", "nmu_backward", x).nmu_backward(dy, x, weight)


_forward_op = define("nmu(Tensor x, Tensor weight) -> Tensor", _fake, _cpu, _cuda)
_backward_op = define(
    "nmu_backward(Tensor dy, Tensor x, Tensor weight) -> (Tensor, Tensor)",
    _fake_backward,
    _cpu_backward,
    _cuda_backward,
)


class _Nmu(torch.autograd.Function):
    @staticmethod
    @keep_signature
    def forward(x, weight):
        return _forward_op(x, weight)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, *grads):
        return _NmuBackward.apply(*grads, *ctx.saved_tensors)

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_Nmu, info, in_dims, inputs)


class _NmuBackward(torch.autograd.Function):
    """Differentiable because second order goes through the reference."""

    @staticmethod
    @keep_signature
    def forward(dy, x, weight):
        return _backward_op(dy, x, weight)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, *grads):
        return torch.func.vjp(reference_backward, *ctx.saved_tensors)[1](grads)

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_NmuBackward, info, in_dims, inputs)


def nmu(x: Tensor, weight: Tensor) -> Tensor:
    """Apply E neural multiplication units at once: z = prod_i (W_i x_i + 1 - W_i).

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,I), dtype and device of ``x``; nothing is clamped.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported.
    """
    return _Nmu.apply(x, weight)
