"""Neural reciprocal unit (Mistry, Farrahi & Hare 2021) for E independent models."""

import torch
from torch import Tensor

from mathkernels.ops._layers import layer_backward, layer_forward
from mathkernels.ops._library import check, define, fold_models, keep_signature
from mathkernels.reference.nru import nru_backward as reference_backward


def _fake(x: Tensor, weight: Tensor, training: bool) -> Tensor:
    size = check("nru", x=(x, "E,B,I"), weight=(weight, "E,O,I"))
    return x.new_empty(size["E"], size["B"], size["O"])


def _cpu(x: Tensor, weight: Tensor, training: bool) -> Tensor:
    return layer_forward("nru", x, weight, _fake(x, weight, training), training=training)


def _fake_backward(dy: Tensor, x: Tensor, weight: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    check("nru_backward", x=(x, "E,B,I"), weight=(weight, "E,O,I"), dy=(dy, "E,B,O"))
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _cpu_backward(dy: Tensor, x: Tensor, weight: Tensor, training: bool) -> tuple[Tensor, ...]:
    gradients = _fake_backward(dy, x, weight, training)
    return layer_backward("nru", dy, x, weight, gradients, training=training)


_forward_op = define("nru(Tensor x, Tensor weight, bool training) -> Tensor", _fake, _cpu)
_backward_op = define(
    "nru_backward(Tensor dy, Tensor x, Tensor weight, bool training) -> (Tensor, Tensor)",
    _fake_backward,
    _cpu_backward,
)


class _Nru(torch.autograd.Function):
    @staticmethod
    @keep_signature
    def forward(x, weight, training):
        return _forward_op(x, weight, training)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2])
        ctx.training = inputs[2]

    @staticmethod
    def backward(ctx, *grads):
        return *_NruBackward.apply(*grads, *ctx.saved_tensors, ctx.training), None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_Nru, info, in_dims, inputs)


class _NruBackward(torch.autograd.Function):
    """Differentiable because second order goes through the reference."""

    @staticmethod
    @keep_signature
    def forward(dy, x, weight, training):
        return _backward_op(dy, x, weight, training)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:3])
        ctx.training = inputs[3]

    @staticmethod
    def backward(ctx, *grads):
        training = ctx.training
        pullback = torch.func.vjp(
            lambda dy, x, weight: reference_backward(dy, x, weight, training), *ctx.saved_tensors
        )[1]
        return *pullback(grads), None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_NruBackward, info, in_dims, inputs)


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
        TypeError: dtypes or devices differ or are not supported.
    """
    return _Nru.apply(x, weight, training)
