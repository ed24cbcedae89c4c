"""Neural multiplicative reciprocal unit (Mistry, Farrahi & Hare 2021) for E independent models."""

import torch
from torch import Tensor

from mathkernels.ops._layers import layer_backward, layer_forward
from mathkernels.ops._library import check, define, fold_models, keep_signature
from mathkernels.reference.nmru import nmru_backward as reference_backward

EPSILON = 2.0**-23  # eps32 of the paper: the spacing of float32 at 1


def _kind(sign_retrieval: bool) -> str:
    return "nmru" if sign_retrieval else "nmru_unsigned"


def _fake(x: Tensor, weight: Tensor, epsilon: float, training: bool, sign_retrieval: bool) -> Tensor:
    size = check("nmru", x=(x, "E,B,I"), weight=(weight, "E,O,2I"))
    return x.new_empty(size["E"], size["B"], size["O"])


def _cpu(x: Tensor, weight: Tensor, epsilon: float, training: bool, sign_retrieval: bool) -> Tensor:
    y = _fake(x, weight, epsilon, training, sign_retrieval)
    return layer_forward(_kind(sign_retrieval), x, weight, y, training=training, epsilon=epsilon)


def _fake_backward(
    dy: Tensor, x: Tensor, weight: Tensor, epsilon: float, training: bool, sign_retrieval: bool
) -> tuple[Tensor, Tensor]:
    check("nmru_backward", x=(x, "E,B,I"), weight=(weight, "E,O,2I"), dy=(dy, "E,B,O"))
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _cpu_backward(
    dy: Tensor, x: Tensor, weight: Tensor, epsilon: float, training: bool, sign_retrieval: bool
) -> tuple[Tensor, ...]:
    gradients = _fake_backward(dy, x, weight, epsilon, training, sign_retrieval)
    return layer_backward(_kind(sign_retrieval), dy, x, weight, gradients, training=training, epsilon=epsilon)


_forward_op = define(
    "nmru(Tensor x, Tensor weight, float epsilon, bool training, bool sign_retrieval) -> Tensor", _fake, _cpu
)
_backward_op = define(
    "nmru_backward(Tensor dy, Tensor x, Tensor weight, float epsilon, bool training, bool sign_retrieval)"
    " -> (Tensor, Tensor)",
    _fake_backward,
    _cpu_backward,
)


class _Nmru(torch.autograd.Function):
    @staticmethod
    @keep_signature
    def forward(x, weight, epsilon, training, sign_retrieval):
        return _forward_op(x, weight, epsilon, training, sign_retrieval)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2])
        ctx.options = inputs[2:]

    @staticmethod
    def backward(ctx, *grads):
        return *_NmruBackward.apply(*grads, *ctx.saved_tensors, *ctx.options), None, None, None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_Nmru, info, in_dims, inputs)


class _NmruBackward(torch.autograd.Function):
    """Differentiable because second order goes through the reference."""

    @staticmethod
    @keep_signature
    def forward(dy, x, weight, epsilon, training, sign_retrieval):
        return _backward_op(dy, x, weight, epsilon, training, sign_retrieval)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:3])
        ctx.options = inputs[3:]

    @staticmethod
    def backward(ctx, *grads):
        options = ctx.options
        pullback = torch.func.vjp(
            lambda dy, x, weight: reference_backward(dy, x, weight, *options), *ctx.saved_tensors
        )[1]
        return *pullback(grads), None, None, None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_NmruBackward, info, in_dims, inputs)


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
        TypeError: dtypes or devices differ or are not supported.
    """
    return _Nmru.apply(x, weight, epsilon, training, sign_retrieval)
