"""Ops with a backward op, differentiable to any order: second order goes through the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mathkernels.ops._autograd import Overwritable
from mathkernels.ops._library import differentiate


def twice(
    forward: Callable,
    backward: Callable,
    tensors: int,
    pullback: Callable,
    saves_output: bool = False,
) -> None:
    """Register how an op of one output and its backward op are differentiated.

    Args:
        forward: the op; its first arguments are the tensors, the others options.
        backward: the op (dy, tensors, the output with ``saves_output``, options) -> a gradient for each
            tensor.
        tensors: how many.
        pullback: (dy, tensors, options) -> tuple of the same gradients in plain torch.
        saves_output: whether backward takes the output of the op.
    """

    def run(ctx: Any, call: Callable, *arguments: Any) -> Tensor:
        output = call(*arguments)
        ctx.options = arguments[tensors:]
        ctx.outputs = Overwritable()
        saved = ctx.outputs.to_save(output) if saves_output else ()
        ctx.save_for_backward(*arguments[:tensors], *saved)
        return output

    def pull(ctx: Any, dy: Tensor) -> tuple:
        saved = ctx.saved_tensors
        if ctx.outputs.changed():
            with torch.no_grad():
                saved = (*saved[:tensors], forward(*saved[:tensors], *ctx.options))
        gradients = backward(dy, *saved, *ctx.options)
        gradients = (gradients,) if isinstance(gradients, Tensor) else gradients
        return *gradients, *(None for _ in ctx.options)

    def run_backward(ctx: Any, call: Callable, *arguments: Any) -> Any:
        ctx.options = arguments[1 + tensors + saves_output :]
        ctx.save_for_backward(*arguments[: 1 + tensors])
        return call(*arguments)

    def pull_backward(ctx: Any, *grads: Tensor) -> tuple:
        options = ctx.options
        found = torch.func.vjp(lambda dy, *leaves: pullback(dy, *leaves, *options), *ctx.saved_tensors)[1](
            grads
        )
        return *found, *(None for _ in range(saves_output + len(options)))

    differentiate(forward, run, pull)
    differentiate(backward, run_backward, pull_backward)


def pullback_of(reference: Callable, tensors: int) -> Callable:
    """The `pullback` of an op whose reference autograd can differentiate."""

    def pullback(dy: Tensor, *arguments: Any) -> tuple:
        leaves, options = arguments[:tensors], arguments[tensors:]
        return torch.func.vjp(lambda *given: reference(*given, *options), *leaves)[1](dy)

    return pullback
