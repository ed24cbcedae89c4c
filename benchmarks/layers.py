"""Forward and backward of each fused layer beside the same formula in stock torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from mathkernels import ops, reference

EPSILON = 2.0**-23
Leaves = tuple[Tensor, ...]


@dataclass(frozen=True)
class Layer:
    """One op and its meaning in plain torch; both take (x, weight) or (x, weight, gate)."""

    ours: Callable[..., Tensor]
    stock: Callable[..., Tensor]
    weights_per_input: int = 1
    gated: bool = False


LAYERS = {
    "NAU": Layer(ops.nau, reference.nau),
    "NMU": Layer(ops.nmu, reference.nmu),
    "RealNPU": Layer(
        lambda *given: ops.real_npu(*given, EPSILON),
        lambda *given: reference.real_npu(*given, EPSILON),
        gated=True,
    ),
    "NRU": Layer(lambda *given: ops.nru(*given, True), lambda *given: reference.nru(*given, True)),
    "NMRU": Layer(
        lambda *given: ops.nmru(*given, EPSILON, True, True),
        lambda *given: reference.nmru(*given, EPSILON, True, True),
        weights_per_input=2,
    ),
}
# (E,B,I,O): the overhead of a call, one model of the papers, their 225 at once, a layer inside a larger net
SIZES = {
    "size 1": (1, 1, 1, 1),
    "one model": (1, 128, 10, 1),
    "225 models": (225, 128, 10, 1),
    "wide": (1, 1024, 32, 32),
}
IMPLEMENTATIONS = ("mathkernels", "stock, eager", "stock, compiled")


def leaves(layer: Layer, size: tuple[int, int, int, int]) -> Leaves:
    """Return x (E,B,I), weight (E,O,I) and perhaps gate (E,I), inside the modules' own intervals."""
    models, batch, inputs, outputs = size
    source = torch.Generator().manual_seed(0)
    x = torch.empty(models, batch, inputs).uniform_(0.5, 1.5, generator=source)
    weight = torch.empty(models, outputs, inputs * layer.weights_per_input).uniform_(
        0.1, 0.4, generator=source
    )
    gate = torch.empty(models, inputs).uniform_(0.2, 0.8, generator=source)
    made = (x, weight, gate) if layer.gated else (x, weight)
    return tuple(leaf.requires_grad_() for leaf in made)


@cache
def implementation(name: str, which: str) -> Callable[..., Tensor]:
    layer = LAYERS[name]
    if which == "mathkernels":
        return layer.ours
    return torch.compile(layer.stock, dynamic=False) if which == "stock, compiled" else layer.stock


def step(function: Callable[..., Tensor], given: Leaves) -> list[Tensor]:
    """Return the output and the gradients of its sum's half square."""
    y = function(*given)
    return [y, *torch.autograd.grad(y, given, y.detach())]


def assert_equal_answers(name: str, which: str, size: str) -> None:
    """Compare output and gradients with the stock formula in float64.

    The limit is 1e-4 of the largest entry: products of 32 factors and sums over 1,024 samples in float32
    keep four digits in any order of operations.
    """
    given = leaves(LAYERS[name], SIZES[size])
    exact = tuple(leaf.detach().double().requires_grad_() for leaf in given)
    pairs = zip(step(implementation(name, which), given), step(LAYERS[name].stock, exact), strict=True)
    for index, (found, true) in enumerate(pairs):
        error, limit = (found - true).abs().max().item(), 1e-4 * true.abs().max().item()
        if not error <= limit:
            raise AssertionError(
                f"{name}, {which}, {size}: result {index} is off by {error:.3g}, allowed {limit:.3g}"
            )


def seconds(name: str, which: str, size: str, repeats: int) -> float:
    """Return the time of ``repeats`` forward and backward passes."""
    function, given = implementation(name, which), leaves(LAYERS[name], SIZES[size])
    begin = time.perf_counter()
    for _ in range(repeats):
        step(function, given)
    return time.perf_counter() - begin
