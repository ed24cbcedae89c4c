"""Forward and backward of a unit along a sequence beside the same cell as a loop of stock torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from mathkernels import ops, reference
from mathkernels.reference.recurrent import UNITS

EPSILON = 1e-7
Leaves = tuple[Tensor, ...]

# (E,T,B): sequential MNIST trains on 64 sequences at a time; ten seeds at once
SIZES = {
    "10 steps": (1, 10, 64),
    "100 steps": (1, 100, 64),
    "10 models, 100 steps": (10, 100, 64),
}
IMPLEMENTATIONS = ("mathkernels", "stock loop, eager", "stock loop, compiled")
# inductor unrolls the loop, and takes minutes for more
COMPILED_STEPS = 10
CHOSEN = ("nac", "nac_mul", "nac_sigma", "nalu", "nau", "nmu")


def leaves(unit: str, size: tuple[int, int, int]) -> Leaves:
    """Return l (E,T,B), weight (E,P) and the state before (E,B), such that a hundred products stay near 1."""
    models, steps, batch = size
    source = torch.Generator().manual_seed(0)
    l = torch.empty(models, steps, batch).uniform_(0.9, 1.1, generator=source)
    weight = torch.empty(models, UNITS[unit][1]).uniform_(0.4, 0.6, generator=source)
    initial = torch.empty(models, batch).uniform_(0.9, 1.1, generator=source)
    return tuple(leaf.requires_grad_() for leaf in (l, weight, initial))


@cache
def implementation(unit: str, which: str) -> Callable[..., Tensor]:
    def ours(*given: Tensor) -> Tensor:
        return ops.recurrent_unit(*given, unit, EPSILON)

    def loop(*given: Tensor) -> Tensor:
        return reference.recurrent_unit(*given, unit, EPSILON)

    if which == "mathkernels":
        return ours
    return torch.compile(loop, dynamic=False) if which == "stock loop, compiled" else loop


def measured(which: str, size: str, short: bool) -> bool:
    """Whether an implementation takes part: not where compiling it would take minutes."""
    return which != "stock loop, compiled" or not (short or SIZES[size][1] > COMPILED_STEPS)


def step(function: Callable[..., Tensor], given: Leaves) -> list[Tensor]:
    """Return the states and the gradients of their half square."""
    h = function(*given)
    return [h, *torch.autograd.grad(h, given, h.detach())]


def assert_equal_answers(unit: str, which: str, size: str) -> None:
    """Compare states and gradients with the loop in float64.

    The limit is 1e-3 of the largest entry: a hundred steps in float32, each with a few roundings that the
    next one carries on, keep three digits in any order of operations.
    """
    given = leaves(unit, SIZES[size])
    exact = tuple(leaf.detach().double().requires_grad_() for leaf in given)
    true_results = step(implementation(unit, "stock loop, eager"), exact)
    for index, (found, true) in enumerate(
        zip(step(implementation(unit, which), given), true_results, strict=True)
    ):
        error, limit = (found - true).abs().max().item(), 1e-3 * true.abs().max().item()
        if not error <= limit:
            raise AssertionError(
                f"{unit}, {which}, {size}: result {index} is off by {error:.3g}, allowed {limit:.3g}"
            )


def seconds(unit: str, which: str, size: str, repeats: int) -> float:
    """Return the time of ``repeats`` forward and backward passes."""
    function, given = implementation(unit, which), leaves(unit, SIZES[size])
    begin = time.perf_counter()
    for _ in range(repeats):
        step(function, given)
    return time.perf_counter() - begin
