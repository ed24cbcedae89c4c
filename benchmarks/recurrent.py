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
EAGER, COMPILED_STEP, COMPILED = "stock loop, eager", "stock loop, compiled step", "stock loop, compiled"
IMPLEMENTATIONS = ("mathkernels", EAGER, COMPILED_STEP, COMPILED)
COMPILED_STEPS = 10  # torch.compile unrolls the loop and takes minutes for a hundred steps
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

    layer, _, takes_epsilon = UNITS[unit]
    options = (EPSILON,) if takes_epsilon else ()

    @torch.compile(dynamic=False)
    def cell(l: Tensor, state: Tensor, weight: Tensor) -> Tensor:
        return layer(torch.stack([l, state], dim=-1), weight[:, None], *options)[..., 0]

    def compiled_step(l: Tensor, weight: Tensor, state: Tensor) -> Tensor:
        states = []
        for scalar in l.unbind(1):
            state = cell(scalar, state, weight)
            states.append(state)
        return torch.stack(states, dim=1)

    compiled = torch.compile(loop, dynamic=False)
    return {"mathkernels": ours, EAGER: loop, COMPILED_STEP: compiled_step, COMPILED: compiled}[which]


def measured(which: str, size: str, short: bool) -> bool:
    """Whether an implementation takes part: not where compiling it would take minutes."""
    if short:
        return which in ("mathkernels", EAGER)
    return which != COMPILED or SIZES[size][1] <= COMPILED_STEPS


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
    true_results = step(implementation(unit, EAGER), exact)
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
