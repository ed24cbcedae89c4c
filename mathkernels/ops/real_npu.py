"""Real neural power unit (Heim, Pevny & Smidl 2020) for E independent models."""

import torch
from torch import Tensor

from mathkernels.ops._layers import layer_backward, layer_forward
from mathkernels.ops._library import check, define, fold_models, keep_signature, triton_kernels
from mathkernels.reference.real_npu import real_npu_backward as reference_backward

EPSILON = 2.0**-23  # eps32 of Mistry et al. 2021: the spacing of float32 at 1


def _fake(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float) -> Tensor:
    size = check("real_npu", x=(x, "E,B,I"), weight=(weight, "E,O,I"), gate=(gate, "E,I"))
    return x.new_empty(size["E"], size["B"], size["O"])


def _cpu(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float) -> Tensor:
    y = _fake(x, weight, gate, epsilon)
    return layer_forward("real_npu", x, weight, y, gate=gate, epsilon=epsilon)


def _cuda(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float) -> Tensor:
    _fake(x, weight, gate, epsilon)
    return triton_kernels("real_npu", "real_npu", x).real_npu_forward(x, weight, gate, epsilon)


def _fake_backward(
    dy: Tensor, x: Tensor, weight: Tensor, gate: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    check("real_npu_backward", x=(x, "E,B,I"), weight=(weight, "E,O,I"), gate=(gate, "E,I"), dy=(dy, "E,B,O"))
    return x.new_empty(x.shape), weight.new_empty(weight.shape), gate.new_empty(gate.shape)


def _cpu_backward(dy: Tensor, x: Tensor, weight: Tensor, gate: Tensor, epsilon: float) -> tuple[Tensor, ...]:
    gradients = _fake_backward(dy, x, weight, gate, epsilon)
    return layer_backward("real_npu", dy, x, weight, gradients, gate=gate, epsilon=epsilon)


def _cuda_backward(dy: Tensor, x: Tensor, weight: Tensor, gate: Tensor, epsilon: float) -> tuple[Tensor, ...]:
    _fake_backward(dy, x, weight, gate, epsilon)
    return triton_kernels("real_npu", "real_npu_backward", x).real_npu_backward(dy, x, weight, gate, epsilon)


_forward_op = define(
    "real_npu(Tensor x, Tensor weight, Tensor gate, float epsilon) -> Tensor", _fake, _cpu, _cuda
)
_backward_op = define(
    "real_npu_backward(Tensor dy, Tensor x, Tensor weight, Tensor gate, float epsilon)"
    " -> (Tensor, Tensor, Tensor)",
    _fake_backward,
    _cpu_backward,
    _cuda_backward,
)


class _RealNpu(torch.autograd.Function):
    @staticmethod
    @keep_signature
    def forward(x, weight, gate, epsilon):
        return _forward_op(x, weight, gate, epsilon)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:3])
        ctx.epsilon = inputs[3]

    @staticmethod
    def backward(ctx, *grads):
        return *_RealNpuBackward.apply(*grads, *ctx.saved_tensors, ctx.epsilon), None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_RealNpu, info, in_dims, inputs)


class _RealNpuBackward(torch.autograd.Function):
    """Differentiable because second order goes through the reference."""

    @staticmethod
    @keep_signature
    def forward(dy, x, weight, gate, epsilon):
        return _backward_op(dy, x, weight, gate, epsilon)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:4])
        ctx.epsilon = inputs[4]

    @staticmethod
    def backward(ctx, *grads):
        epsilon = ctx.epsilon
        pullback = torch.func.vjp(
            lambda dy, x, weight, gate: reference_backward(dy, x, weight, gate, epsilon), *ctx.saved_tensors
        )[1]
        return *pullback(grads), None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_RealNpuBackward, info, in_dims, inputs)


def real_npu(x: Tensor, weight: Tensor, gate: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Apply E real neural power units at once: z = exp(sum_i W_i ln r_i) cos(sum_i W_i k_i).

    With h = clamp(gate, 0, 1): r_i = h_i (|x_i| + epsilon) + 1 - h_i and k_i = pi h_i [x_i < 0].

    Args:
        x: inputs, (E,B,I), float32 or float64.
        weight: (E,O,I); gate: (E,I), shared by the outputs of a model; dtype and device of ``x``.
        epsilon: added to |x|, in training and evaluation alike.

    Returns:
        (E,B,O) in the input's dtype. Differentiable to any order.

    Raises:
        ValueError: shapes disagree; the message names each of them.
        TypeError: dtypes or devices differ or are not supported.
    """
    return _RealNpu.apply(x, weight, gate, epsilon)
