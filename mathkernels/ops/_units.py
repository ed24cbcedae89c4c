"""The ops of the form y (E,B,O) of x (E,B,I), parameters and options: their shapes, kernels and gradients.

`define_unit` declares one; `apply_unit` calls it. What differs between them stands in its declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mathkernels.ops._dispatch import Kernels
from mathkernels.ops._layers import layer_backward, layer_forward
from mathkernels.ops._library import check
from mathkernels.ops._twice import Derivative, define_twice, pullback_of, reference_backward

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
        triton: whether mathkernels.triton has the op, for CUDA tensors.
    """
    count = len(parameters)
    keys = [option.split()[1] for option in options]

    def rule(x: Tensor, *rest: Any) -> Tensor:
        told = {key: (tensor, parameters[key]) for key, tensor in zip(parameters, rest, strict=False)}
        size = check(name, x=(x, "E,B,I"), **told)
        return x.new_empty(size["E"], size["B"], size["O"])

    def rule_backward(dy: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
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
        return layer_forward(x=x, weight=rest[0], y=rule(x, *rest), **keywords(rest))

    def cpu_backward(dy: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        gradients = rule_backward(dy, x, *rest)
        return layer_backward(dy=dy, x=x, weight=rest[0], gradients=gradients, **keywords(rest))

    arguments = ", ".join(["Tensor x", *(f"Tensor {key}" for key in parameters), *options])
    results = ", ".join(["Tensor"] * (count + 1))
    schemas = f"{name}({arguments}) -> Tensor", f"{name}_backward(Tensor dy, {arguments}) -> ({results})"
    pullback = pullback_of(reference, 1 + count)
    path = f"{name}.{name}" if triton else None
    _UNITS[name] = define_twice(
        schemas,
        Kernels(rule, cpu, reference, path and f"{path}_forward"),
        Kernels(
            rule_backward, cpu_backward, reference_backward(pullback, 1 + count), path and f"{path}_backward"
        ),
        Derivative(1 + count, pullback),
    )


def apply_unit(name: str, x: Tensor, weight: Tensor, *options: Any, gate: Tensor | None = None) -> Tensor:
    """The op `name` of x, its parameters and options; differentiable to any order, mapped by vmap."""
    return _UNITS[name](x, weight, *(() if gate is None else (gate,)), *options)
