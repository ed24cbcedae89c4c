"""Attention of rows that each name the source they read: for decoding, whose sentences end one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mathkernels import _C
from mathkernels.ops._dispatch import Kernels
from mathkernels.ops._library import define, differentiate
from mathkernels.ops._memory import maker, scratch
from mathkernels.ops._sequence_checks import address
from mathkernels.ops.attention_step import Given, addresses, call_of, check, most, outputs, reference_of

_NAME = "attention_of_rows"


def _check(given: Given, rows: Tensor, heads: int, scale: float) -> dict[str, int]:
    query, keys = given.query, given.keys
    if rows.dtype != torch.int64:
        raise TypeError(f"{_NAME}: rows is {rows.dtype}; needs torch.int64")
    if query.dim() < 2 or rows.shape != query.shape[:2]:
        raise ValueError(
            f"{_NAME}: shapes disagree: rows (E,B)={tuple(rows.shape)}, query={tuple(query.shape)}"
        )
    # all but the number of queried rows is as in attention_step
    B = keys.shape[1] if keys.dim() > 1 else 1
    query = query.new_empty(()).expand(query.shape[0], B, *query.shape[2:])
    stand_ins = given._replace(query=query)
    sizes = check(_NAME, stand_ins, heads, scale)
    return {**sizes, "B": rows.shape[1]}


def _check_values(*arguments: Any) -> None:
    keys, rows = arguments[1], arguments[5]
    if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < keys.shape[1]:
        found = f"{int(rows.min())} to {int(rows.max())}"
        raise ValueError(f"{_NAME}: rows are {found}; needs 0 to {keys.shape[1] - 1}, the rows of keys")


def _rule(*arguments: Any) -> tuple[Tensor, Tensor]:
    given, (rows, heads, scale, return_weights) = Given(*arguments[:5]), arguments[5:]
    sizes = _check(given, rows, heads, scale)
    return outputs(given.query.new_empty, sizes, return_weights)


def _cpu(*arguments: Any) -> tuple[Tensor, Tensor]:
    given, (rows, heads, scale, return_weights) = Given(*arguments[:5]), arguments[5:]
    sizes = _check(given, rows, heads, scale)
    _check_values(*arguments)
    context, weights = outputs(maker(most(sizes), given.query.dtype), sizes, return_weights)
    call = call_of(given, sizes, heads)
    workspace = scratch(_C.attention_forward_workspace(call))
    _kept, passed = addresses(given, scale)
    rows = rows.contiguous()
    wanted = address(weights) if return_weights else 0
    sources = given.keys.shape[1]
    _C.attention_forward(call, *passed, address(rows), sources, address(context), wanted, address(workspace))
    return context, weights


def _reference(*arguments: Any) -> tuple[Tensor, Tensor]:
    query, keys, values, weight_score, mask, rows, *options = arguments

    def read(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else torch.stack([t[r] for t, r in zip(tensor, rows, strict=True)])

    return reference_of(query, read(keys), read(values), weight_score, read(mask), *options)


_tensors = "Tensor query, Tensor keys, Tensor values, Tensor? weight_score, Tensor? mask, Tensor rows"
_attention_of_rows = define(
    f"{_NAME}({_tensors}, int heads, float scale, bool return_weights) -> (Tensor, Tensor)",
    Kernels(_rule, _cpu, _reference, check_values=_check_values),
)


def _refuse(*arguments: Any) -> Any:
    raise NotImplementedError(f"{_NAME}: there are no gradients; needs torch.no_grad(), or attention_step")


differentiate(_attention_of_rows, _refuse, _refuse)


def attention_of_rows(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    weight_score: Tensor | None,
    rows: Tensor,
    *,
    heads: int,
    scale: float,
    return_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """`attention_step` of queries (E,B,Q,N*P) to keys[e, rows[e,b]], values and mask alike, without copies.

    Without gradients. ``rows`` is (E,B), int64; keys, values and mask have as many rows as they like.

    Raises:
        ValueError, TypeError: as `attention_step`; rows are no numbers of rows.
    """
    given = query, keys, values, weight_score, mask, rows
    with torch.no_grad():
        context, weights = _attention_of_rows(*given, heads, scale, return_weights)
    return context, weights if return_weights else None
