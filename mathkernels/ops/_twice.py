"""Ops with a backward op, differentiable to any order: second order goes through the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mathkernels.ops._autograd import Overwritable
from mathkernels.ops._dispatch import Kernels
from mathkernels.ops._library import define, differentiate


class Derivative:
    """How an op and its backward op belong together; as it is, for an op of one output.

    The op's arguments are its tensors and then its options. Its backward op takes the gradients of the
    outputs, the tensors, the outputs that are kept, and options; it returns a gradient for each of the first
    tensors.

    Args:
        tensors: how many of the op's arguments are tensors.
        pullback: (gradients of the outputs, tensors, options of the backward op) -> tuple of what the
            backward op returns, in plain torch.
        keeps_output: whether the backward op takes the op's output.
    """

    gradients = 1  # how many gradients of outputs the backward op takes

    def __init__(self, tensors: int, pullback: Callable, keeps_output: bool = False) -> None:
        self.tensors, self.pullback, self.kept = tensors, pullback, int(keeps_output)

    def training(self, arguments: tuple) -> tuple:
        """What the op is called with where gradients are wanted."""
        return arguments

    def leave(self, ctx: Any, outputs: Any, options: tuple) -> tuple[Any, list[Tensor]]:
        """What the caller gets of the outputs in training, and what is kept of them."""
        return outputs, ctx.outputs.to_save(outputs) if self.kept else []

    def keep(self, outputs: Any) -> tuple[Tensor, ...]:
        """What is kept of outputs that the caller does not get."""
        return (outputs,) if self.kept else ()

    def options(self, options: tuple, needed: tuple[bool, ...]) -> tuple:
        """The backward op's options, given the op's and which arguments need gradients."""
        return options

    def returned(self, tensors: tuple, options: tuple) -> list[bool]:
        """Which gradients the backward op returns under its options; the others are without elements."""
        return [True] * self.tensors


def define_twice(
    schemas: tuple[str, str],
    forward: Kernels,
    backward: Kernels,
    derivative: Derivative,
    vmap: Callable | None = None,
) -> Callable:
    """Declare an op and its backward op, and how both are differentiated; return the op."""
    op, backward_op = define(schemas[0], forward, vmap), define(schemas[1], backward, vmap)
    differentiate(op, *_first(derivative, op, backward_op))
    differentiate(backward_op, *_second(derivative))
    return op


def _first(derivative: Derivative, op: Callable, backward_op: Callable) -> tuple[Callable, Callable]:
    tensors = derivative.tensors

    def run(ctx: Any, call: Callable, *arguments: Any) -> Any:
        ctx.options, ctx.outputs = arguments[tensors:], Overwritable()
        arguments = derivative.training(arguments)
        handed, kept = derivative.leave(ctx, call(*arguments), ctx.options)
        ctx.save_for_backward(*arguments[:tensors], *kept)
        return handed

    def pull(ctx: Any, *grads: Tensor | None) -> tuple:
        saved, options = ctx.saved_tensors, ctx.options  # checkpointing gives the tensors once
        if ctx.outputs.changed():
            given = saved[:tensors]
            with torch.no_grad():
                saved = (*given, *derivative.keep(op(*derivative.training((*given, *options)))))
        needed = ctx.needs_input_grad
        arriving = grads[: derivative.gradients]
        found = backward_op(*arriving, *saved, *derivative.options(options, needed))
        found = (found,) if isinstance(found, Tensor) else found
        own = (gradient if need else None for gradient, need in zip(found, needed, strict=False))
        return *own, *([None] * (tensors - len(found) + len(options)))

    return run, pull


def _second(derivative: Derivative) -> tuple[Callable, Callable]:
    begin, end = derivative.gradients, derivative.gradients + derivative.tensors
    kept = end + derivative.kept

    def run(ctx: Any, call: Callable, *arguments: Any) -> Any:
        ctx.options = arguments[kept:]
        ctx.save_for_backward(*arguments[:end])
        return call(*arguments)

    def pull(ctx: Any, *grads: Tensor) -> tuple:
        """Through the reference, which makes what was kept anew."""
        saved, options = ctx.saved_tensors, ctx.options
        returned = derivative.returned(saved[begin:], options)
        real = [tensor is not None and tensor.is_floating_point() for tensor in saved]

        def pullback(*leaves: Tensor) -> tuple:
            left = iter(leaves)
            given = (next(left) if is_real else t for t, is_real in zip(saved, real, strict=True))
            found = derivative.pullback(*given, *options)
            return tuple(g for g, is_there in zip(found, returned, strict=True) if is_there)

        leaves = [t for t, is_real in zip(saved, real, strict=True) if is_real]
        arrived = tuple(g for g, is_there in zip(grads, returned, strict=True) if is_there)
        found = iter(torch.func.vjp(pullback, *leaves)[1](arrived))
        second = (next(found) if is_real else None for is_real in real)
        return *second, *([None] * (derivative.kept + len(options)))

    return run, pull


def reference_backward(pullback: Callable, tensors: int, kept: int = 0) -> Callable:
    """The backward op in plain torch, from a `pullback` of one output; what is kept of it is not needed."""

    def reference(dy: Tensor, *arguments: Any) -> Any:
        found = pullback(dy, *arguments[:tensors], *arguments[tensors + kept :])
        return found if len(found) > 1 else found[0]

    return reference


def pullback_of(reference: Callable, tensors: int) -> Callable:
    """The `pullback` of an op whose reference autograd can differentiate."""

    def pullback(dy: Tensor, *arguments: Any) -> tuple:
        leaves, options = arguments[:tensors], arguments[tensors:]
        return torch.func.vjp(lambda *given: reference(*given, *options), *leaves)[1](dy)

    return pullback
