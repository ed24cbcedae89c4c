"""The ops of the form y (E,B,O) of x (E,B,I), parameters and options: their shapes, kernels and gradients.

`define_unit` declares one; `apply_unit` calls it. What differs between them stands in its declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mathkernels.ops._layers import layer_backward, layer_forward
from mathkernels.ops._library import check, define, triton_kernels
from mathkernels.ops._twice import pullback_of, twice

_UNITS: dict[str, Callable] = {}


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
    twice(forward, backward, 1 + count, pullback_of(reference, 1 + count))
    _UNITS[name] = forward


def apply_unit(name: str, x: Tensor, weight: Tensor, *options: Any, gate: Tensor | None = None) -> Tensor:
    """The op `name` of x, its parameters and options; differentiable to any order, mapped by vmap."""
    return _UNITS[name](x, weight, *(() if gate is None else (gate,)), *options)
