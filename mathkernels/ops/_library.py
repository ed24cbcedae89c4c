"""The one place that talks to torch.library."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import torch
from torch import Tensor

from mathkernels.ops._autograd import autograd_kernel
from mathkernels.ops._dispatch import Kernels, check_present, kernel_of, needed_tensors

DTYPES = (torch.float32, torch.float64)  # in the order of mk::Dtype
_LIBRARY = torch.library.Library("mathkernels", "DEF")


def define(schema: str, kernels: Kernels, vmap: Callable | None = None) -> Callable:
    """Declare ``mathkernels::<schema>`` with its kernels; return the op.

    ``vmap`` is its rule under torch.vmap, by default that of a leading model axis.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    op = getattr(torch.ops.mathkernels, name).default
    for key in ("CPU", "CUDA"):
        _LIBRARY.impl(name, kernel_of(op, kernels, key), key)
    needed = needed_tensors(op)

    @wraps(kernels.rule)
    def fake(*arguments: Any) -> Any:
        check_present(name, needed, arguments)
        return kernels.rule(*arguments)

    torch.library.register_fake(f"mathkernels::{name}", fake, lib=_LIBRARY)

    def rule(info: Any, in_dims: tuple, *inputs: Any) -> tuple:
        return (vmap or fold_models)(op, info, in_dims, inputs)

    torch.library.register_vmap(f"mathkernels::{name}", rule, lib=_LIBRARY)
    return op


def differentiate(op: Any, forward: Callable, backward: Callable) -> None:
    """Register how an op is differentiated; `autograd_kernel` says what the two functions take and give."""
    name = op._schema.name.partition("::")[2]
    _LIBRARY.impl(name, autograd_kernel(op, forward, backward), "Autograd", with_keyset=True)


@cache
def _axes(axes: str) -> list[tuple[int, str, int]]:
    """Factor, letter and added columns of each axis: "E,4I+1" is (1, E, 0), (4, I, 1)."""
    found = [re.fullmatch(r"(\d*)([A-Z])(?:\+(\d+))?", axis) for axis in axes.split(",")]
    return [(int(match[1] or 1), match[2], int(match[3] or 0)) for match in found if match]


def check(op: str, **tensors: tuple[Tensor, str]) -> dict[str, int]:
    """Bind each axis letter to one size. Axes are letters with commas; "4I+1" is made of an earlier I.

    Raises:
        ValueError: shapes disagree; the message names every tensor, its letters and its shape.
        TypeError: dtype or device differ or are not supported; the message names the tensor.
    """
    size: dict[str, int] = {}
    first: Tensor | None = None
    for name, (tensor, axes) in tensors.items():
        parts = _axes(axes)
        fits = tensor.dim() == len(parts)
        for (factor, letter, added), n in zip(parts, tensor.shape, strict=False):
            plain = factor == 1 and added == 0
            fits = fits and n == (size.setdefault(letter, n) if plain else factor * size[letter] + added)
        if not fits:
            told = ", ".join(f"{name} ({axes})={tuple(t.shape)}" for name, (t, axes) in tensors.items())
            raise ValueError(f"{op}: shapes disagree: {told}")
        if first is None:
            first = tensor
            check_dtype(op, name, tensor)
        elif tensor.dtype != first.dtype or tensor.device != first.device:
            given, right = f"{tensor.dtype} on {tensor.device}", f"{first.dtype} on {first.device}"
            raise TypeError(f"{op}: {name} is {given}; needs {right} like {next(iter(tensors))}")
    return size


def check_dtype(op: str, name: str, tensor: Tensor) -> None:
    if tensor.dtype not in DTYPES:
        raise TypeError(f"{op}: {name} is {tensor.dtype}; needs torch.float32 or torch.float64")


def check_like(op: str, **tensors: Tensor) -> None:
    """Raise unless the tensors have one shape, dtype and device; the message names each of them."""
    told = {name: f"{tuple(t.shape)} {t.dtype} on {t.device}" for name, t in tensors.items()}
    if len(set(told.values())) > 1:
        raise ValueError(
            f"{op}: tensors differ: {', '.join(f'{name} is {what}' for name, what in told.items())}"
        )


def fold_models(op: Callable, info: Any, in_dims: tuple, inputs: tuple) -> tuple:
    """The vmap rule of an op with a leading model axis: V maps over E models are one call on V * E models."""
    maps = info.batch_size

    def fold(value: Any, dim: int | None) -> Any:
        if not isinstance(value, Tensor):
            return value
        return (value.expand(maps, *value.shape) if dim is None else value.movedim(dim, 0)).flatten(0, 1)

    def unfold(value: Tensor) -> Tensor:
        return value.unflatten(0, (maps, value.shape[0] // maps if maps else 0))

    out = op(*map(fold, inputs, in_dims))
    if isinstance(out, Tensor):
        return unfold(out), 0
    return tuple(map(unfold, out)), (0,) * len(out)


def map_elements(op: Callable, info: Any, in_dims: tuple, inputs: tuple) -> tuple:
    """The vmap rule of an op of one output that treats elements alike and each alone."""
    maps = info.batch_size

    def lead(value: Any, dim: int | None) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.expand(maps, *value.shape) if dim is None else value.movedim(dim, 0)

    return op(*map(lead, inputs, in_dims)), 0
