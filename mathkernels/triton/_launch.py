"""What every launcher shares: the device guard and the two-stage sum over the batch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

SPLIT = 256  # rows of the batch that one program adds up before the second stage; fixed: sums are repeatable


def device_of(x: Tensor) -> AbstractContextManager[None]:
    """Make x's GPU the current one: Triton launches there. CPU tensors occur under its interpreter only."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def splits(batch: int) -> int:
    """How many programs share a sum over ``batch`` rows; at least one, to write the zeros of an empty sum."""
    return max(1, -(-batch // SPLIT))


def add_splits(partial: Tensor) -> Tensor:
    """(S, ...) -> (...): the second stage of a sum over the batch."""
    return partial[0] if partial.shape[0] == 1 else partial.sum(0)
