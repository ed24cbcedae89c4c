"""The linear maps around attention."""

from __future__ import annotations

import torch
from torch import Tensor

from mathkernels import ops


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, bfloat16: bool = False) -> Tensor:
    """x (E,B,I), weight (E,O,I), bias (E,O) -> (E,B,O); with bfloat16 both factors are rounded to it."""
    if bfloat16:
        x, weight = x.bfloat16().float(), weight.bfloat16().float()
    last = weight.new_zeros(weight.shape[:2]) if bias is None else bias
    return ops.linear(x, torch.cat([weight, last[..., None]], -1))


def of_rows(name: str, weight: Tensor, table: Tensor, bfloat16: bool = False) -> Tensor:
    """Input weights (E,D,O,I) and rows of a table (E,V,I) -> input weights of one-hot rows (E,D,O,V).

    A step's product with an embedded token is a column of it, so that V products do the work of all steps.

    Raises:
        TypeError: the table has another dtype than the weights; the message begins with the name.
    """
    if table.dtype != weight.dtype:
        raise TypeError(f"{name}: embedding is {table.dtype}; needs {weight.dtype}")
    E, D, O, I = weight.shape
    found = linear(table, weight.reshape(E, D * O, I), None, bfloat16)
    return found.transpose(1, 2).reshape(E, D, O, table.shape[1])
