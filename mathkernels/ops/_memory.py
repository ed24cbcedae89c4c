"""New tensors for kernels: small ones from torch, large ones from memory that is kept between calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mathkernels import _C

# Below this malloc keeps memory itself, and a kernel's work outweighs what a new page costs.
LARGE = 1 << 20  # bytes
CPU = torch.device("cpu")  # to name the device costs half as much as another tensor


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor of arbitrary content on the CPU, as torch.empty does.

    A large one lies in a block that goes back to be kept when the last tensor on it has gone, and serves the
    next call (csrc/common/memory.h; `mathkernels.backends.release_memory` gives it to the system).

    Raises:
        MemoryError: the system has no such block.
    """
    count = math.prod(shape)
    if count * dtype.itemsize < LARGE:
        return torch.empty(shape, dtype=dtype, device=CPU)
    return torch.frombuffer(_C.Memory(count * dtype.itemsize), dtype=dtype, count=count).view(shape)


def maker(most: int, dtype: torch.dtype) -> Callable[[tuple[int, ...]], Tensor]:
    """`empty` for some tensors, none of which has more than `most` numbers: spares counting small ones."""
    if most * dtype.itemsize < LARGE:
        return partial(torch.empty, dtype=dtype, device=CPU)
    return partial(empty, dtype=dtype)
