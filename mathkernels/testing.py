"""What tests and benchmarks of an op share: shapes that find mistakes, inputs, and the accuracy rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

# E, B, I, O: nothing, one, primes, and the batch around 32 columns and around a block of 256 rows
SHAPES = [
    (1, 1, 1, 1),
    (3, 5, 2, 7),
    (2, 31, 3, 2),
    (2, 32, 2, 1),
    (1, 33, 7, 3),
    (2, 127, 10, 1),
    (1, 257, 3, 2),
    (1, 1021, 5, 1),
]
EMPTY_SHAPES = [(0, 3, 2, 2), (2, 0, 3, 2), (2, 3, 2, 0), (2, 3, 0, 2)]


def results(function: Callable, leaves: Sequence[Tensor]) -> list[Tensor]:
    """The value of a function and its gradients, under a dy that differs from entry to entry."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    y = function(*leaves)
    dy = (
        torch.linspace(-1, 1, max(y.numel(), 1), dtype=torch.float64)[: y.numel()]
        .to(y.dtype)
        .reshape(y.shape)
    )
    return [y.detach(), *torch.autograd.grad(y, leaves, dy)]


def largest(values: Tensor) -> float:
    return values.abs().max().item() if values.numel() else 0.0


def assert_no_worse_than(
    ours: Callable, theirs: Callable, leaves: Sequence[Tensor], *, floor_ulp: float = 4.0
) -> None:
    """Assert the accuracy rule for a function and its gradients at the leaves' float32 values.

    The error of ``ours`` against ``theirs`` in float64 is at most twice that of ``theirs`` in float32, plus a
    floor for where plain torch happens to be exact: ``floor_ulp`` ULP of the tensor's largest value.
    """
    exact = results(theirs, [leaf.double() for leaf in leaves])
    single = [leaf.float() for leaf in leaves]
    triples = zip(results(ours, single), results(theirs, single), exact, strict=True)
    for index, (mine, plain, true) in enumerate(triples):
        assert mine.shape == true.shape, f"result {index}: shape {mine.shape}, needs {true.shape}"
        assert torch.isfinite(true).all(), f"result {index}: the exact values are not finite"
        error, limit = largest(mine.double() - true), 2 * largest(plain.double() - true)
        floor = floor_ulp * torch.finfo(torch.float32).eps * largest(true)
        assert error <= limit + floor, f"result {index}: error {error:.3g}, needs {limit:.3g} + {floor:.3g}"


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fill every new tensor of torch.empty, Tensor.new_empty and kept memory with NaN (bytes with 255)."""
    empty, new_empty, set_storage = torch.empty, Tensor.new_empty, Tensor.set_

    def fill(tensor: Tensor) -> Tensor:
        return tensor.fill_(math.nan if tensor.is_floating_point() else 255)

    torch.empty = lambda *args, **options: fill(empty(*args, **options))
    Tensor.new_empty = lambda self, *args, **options: fill(new_empty(self, *args, **options))
    Tensor.set_ = lambda self, *args, **options: fill(set_storage(self, *args, **options))
    try:
        yield
    finally:
        torch.empty, Tensor.new_empty, Tensor.set_ = empty, new_empty, set_storage
