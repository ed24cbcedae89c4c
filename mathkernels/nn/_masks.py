"""Which places of a source may be attended to: masks of every kind and lengths, as the ops take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from mathkernels.nn._sequence_shapes import WHOLE, text
from mathkernels.nn._tensors import check_tensor, is_wrapped

FORBIDS = -65504.0  # the least finite number of float16; the other types' are smaller still


def source_mask(
    name: str, mask: Any, lengths: Any, sizes: tuple[int, int, int], models: int | None, batched: bool
) -> Tensor | None:
    """(E,B,S) bool, True where a source may be attended to, from ``mask`` and ``lengths``; None for all.

    Args:
        mask: (B,S), (E,B,S) with ``models``, or (S,) without a batch: bool, True where attention may look;
            or real numbers that are added to the scores in other libraries: 0, and -inf or the least finite
            number of a type where it may not.
        lengths: (B,), or (E,B) with ``models``: the places before them are allowed.
        sizes: E, B, S.

    Raises:
        ValueError: a shape is not right, a length is not from 0 to S, or a real mask holds other numbers.
        TypeError: a dtype is not right.
    """
    E, B, S = sizes
    found = None if mask is None else _of_mask(name, mask, sizes, models, batched)
    if lengths is not None:
        rows = _lengths(name, lengths, E, B, S, models, batched, found)
        before = torch.arange(S, device=rows.device) < rows[..., None]
        found = before if found is None else found & before
    return found


def _of_mask(name: str, mask: Any, sizes: tuple[int, int, int], models: int | None, batched: bool) -> Tensor:
    E, B, S = sizes
    mask = check_tensor(name, "mask", mask)
    one = (B, S) if batched else (S,)
    rights = [one] if models is None else [one, (E, *one)]
    if tuple(mask.shape) not in rights:
        raise ValueError(f"{name}: mask has shape {text(mask.shape)}; needs {' or '.join(map(text, rights))}")
    if mask.is_floating_point():
        allowed = mask == 0
        if not _unreadable(mask) and not (allowed | (mask <= FORBIDS)).all():
            wrong = mask[~(allowed | (mask <= FORBIDS))][0].item()
            raise ValueError(
                f"{name}: mask holds {wrong:g}; a mask of real numbers needs 0 where attention may look and"
                " -inf, or the least finite number of its type, where it may not"
            )
    elif mask.dtype == torch.bool:
        allowed = mask
    else:
        raise TypeError(f"{name}: mask is {mask.dtype}; needs torch.bool, True where attention may look")
    return allowed.reshape(-1, B, S).expand(E, B, S)


def _lengths(
    name: str, lengths: Any, E: int, B: int, S: int, models: int | None, batched: bool, like: Tensor | None
) -> Tensor:
    """(E,B) of whole numbers from 0 to S."""
    try:
        lengths = torch.as_tensor(lengths, device=None if like is None else like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}: lengths is {lengths!r}; needs whole numbers") from error
    if lengths.dtype not in WHOLE and lengths.numel():
        raise TypeError(f"{name}: lengths is {lengths.dtype}; needs whole numbers")
    rows = (B,) if batched else ()
    rights: list[Sequence[int]] = [rows] if models is None else [rows, (E, *rows)]
    if tuple(lengths.shape) not in rights:
        raise ValueError(
            f"{name}: lengths of the source has shape {text(lengths.shape)};"
            f" needs {' or '.join(map(text, rights))}"
        )
    if not _unreadable(lengths) and lengths.numel():
        least, most = (int(end) for end in torch.aminmax(lengths))
        if least < 0 or most > S:
            wrong = least if least < 0 else most
            raise ValueError(f"{name}: lengths of the source holds {wrong}; needs steps from 0 to {S}")
    return lengths.long().reshape(-1, B).expand(E, B)


def _unreadable(tensor: Tensor) -> bool:
    """Whether the values cannot be looked at: in a graph, under a transform, on the meta device."""
    return (
        torch.compiler.is_compiling()
        or is_wrapped(tensor)
        or tensor.is_meta
        or isinstance(tensor, FakeTensor)
    )
