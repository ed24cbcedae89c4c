"""The ops of the form y (E,B,O) of x (E,B,I), parameters and options: their shapes, kernels and gradients.

`define_unit` declares one; `apply_unit` calls it. What differs between them stands in its declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mathkernels.ops._layers import layer_backward, layer_forward
from mathkernels.ops._library import check, define, fold_models, keep_signature, triton_kernels


@dataclass(frozen=True)
class _Unit:
    forward: Callable  # x, parameters, options -> y
    backward: Callable  # dy, x, parameters, options -> dx, gradients of the parameters
    reference: Callable  # as forward, in plain torch


_UNITS: dict[str, _Unit] = {}


def define_unit(
    name: str,
    reference: Callable[..., Tensor],
    parameters: dict[str, str],
    options: tuple[str, ...] = (),
    call: Callable[..., dict[str, Any]] | None = None,
    triton: bool = False,
) -> None:
    """Declare ``mathkernels::<name>`` and its backward.

    Args:
        reference: the same function in plain torch; second order goes through it.
        parameters: name -> axes of the weight and, where there is one, the gate, as `check` reads them.
        options: what follows the tensors, as a schema writes it ("float epsilon").
        call: options -> keywords of `layer_forward`; by default each option under its own name. A "kind"
            among them is the compiled layer, by default the one named as the op.
        triton: whether mathkernels.triton has the op for CUDA tensors; else those are refused.
    """
    count = len(parameters)
    keys = [option.split()[1] for option in options]

    def fake(x: Tensor, *rest: Any) -> Tensor:
        told = {key: (tensor, parameters[key]) for key, tensor in zip(parameters, rest, strict=False)}
        size = check(name, x=(x, "E,B,I"), **told)
        return x.new_empty(size["E"], size["B"], size["O"])

    def fake_backward(dy: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        told = {key: (tensor, parameters[key]) for key, tensor in zip(parameters, rest, strict=False)}
        check(f"{name}_backward", x=(x, "E,B,I"), **told, dy=(dy, "E,B,O"))
        return tuple(tensor.new_empty(tensor.shape) for tensor in (x, *rest[:count]))

    def keywords(rest: tuple) -> dict[str, Any]:
        found = call(*rest[count:]) if call else dict(zip(keys, rest[count:], strict=True))
        found.setdefault("kind", name)
        if count > 1:
            found["gate"] = rest[1]
        return found

    def cpu(x: Tensor, *rest: Any) -> Tensor:
        return layer_forward(x=x, weight=rest[0], y=fake(x, *rest), **keywords(rest))

    def cpu_backward(dy: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        gradients = fake_backward(dy, x, *rest)
        return layer_backward(dy=dy, x=x, weight=rest[0], gradients=gradients, **keywords(rest))

    def cuda(x: Tensor, *rest: Any) -> Tensor:
        fake(x, *rest)
        return getattr(triton_kernels(name, name, x), f"{name}_forward")(x, *rest)

    def cuda_backward(dy: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        fake_backward(dy, x, *rest)
        return getattr(triton_kernels(name, f"{name}_backward", x), f"{name}_backward")(dy, x, *rest)

    arguments = ", ".join(["Tensor x", *(f"Tensor {key}" for key in parameters), *options])
    results = ", ".join(["Tensor"] * (count + 1))
    forward = define(f"{name}({arguments}) -> Tensor", fake, cpu, cuda if triton else None)
    backward = define(
        f"{name}_backward(Tensor dy, {arguments}) -> ({results})",
        fake_backward,
        cpu_backward,
        cuda_backward if triton else None,
    )
    _UNITS[name] = _Unit(forward, backward, reference)


def apply_unit(name: str, x: Tensor, weight: Tensor, *options: Any, gate: Tensor | None = None) -> Tensor:
    """The op `name` of x, its parameters and options; differentiable to any order, mapped by vmap."""
    return _Forward.apply(name, options, x, weight, gate)


def _present(*tensors: Tensor | None) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor is not None]


# The functions below have one number of arguments for all ops, because Dynamo tells by it whether a context
# is among them: name and options are constants, and the gate is None for ops without one.


class _Forward(torch.autograd.Function):
    @staticmethod
    @keep_signature
    def forward(name, options, x, weight, gate):
        return _UNITS[name].forward(*_present(x, weight, gate), *options)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.name, ctx.options = inputs[:2]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx, *grads):
        x, weight, gate = ctx.saved_tensors
        gradients = _Backward.apply(ctx.name, ctx.options, *grads, x, weight, gate)
        return None, None, *gradients, *(() if gate is not None else (None,))

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_Forward, info, in_dims, inputs)


class _Backward(torch.autograd.Function):
    """Differentiable because second order goes through the reference."""

    @staticmethod
    @keep_signature
    def forward(name, options, dy, x, weight, gate):
        return _UNITS[name].backward(*_present(dy, x, weight, gate), *options)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.name, ctx.options = inputs[:2]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx, *grads):
        reference, options = _UNITS[ctx.name].reference, ctx.options

        def pullback(dy: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            return torch.func.vjp(lambda *leaves: reference(*leaves, *options), *tensors)[1](dy)

        saved = _present(*ctx.saved_tensors)
        second = torch.func.vjp(pullback, *saved)[1](grads)
        return None, None, *second, *(None for _ in range(4 - len(saved)))

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return fold_models(_Backward, info, in_dims, inputs)
