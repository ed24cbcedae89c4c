"""Layers, sequences and trainings of all kinds at sizes around packs and blocks, for bits and containment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import layer_cases
import sequence_op_cases
import torch
from torch import Tensor

LAYER_SHAPES = [(3, 1, 2, 1), (2, 33, 3, 2), (4, 17, 10, 1), (2, 257, 7, 5)]  # E, B, I, O
SEQUENCE_SHAPES = [(3, 3, 2, 2, 3, 2), (2, 2, 17, 3, 20, 1), (2, 4, 33, 7, 16, 2), (3, 2, 40, 5, 33, 1)]


class Op(NamedTuple):
    """An op at one shape; leaves lead with the models."""

    name: str
    family: str
    leaves: list[Tensor]
    function: Callable[..., Any]
    alone: Callable[..., Any]  # for one of its models
    rows: bool  # whether a row's bits do not depend on the number of rows


def ops() -> Iterator[Op]:
    """Every layer and sequence op at every shape and dtype."""
    for dtype in (torch.float32, torch.float64):
        for case in layer_cases.CASES:
            for shape in LAYER_SHAPES:
                torch.manual_seed(0)
                leaves, name = case.leaves(shape, dtype), f"{case.id} {shape} {dtype}"
                yield Op(name, "arithmetic layers", leaves, case.function, case.function, True)
        for case in sequence_op_cases.CASES:
            for shape in SEQUENCE_SHAPES:
                torch.manual_seed(0)
                leaves, name = case.leaves(shape, dtype), f"{case.id} {shape} {dtype}"
                alone = case.function((1, *shape[1:]))
                if not (case.lengths or case.symbols):  # those are made for all models at once
                    yield Op(name, "LSTM and GRU", leaves, case.function(shape), alone, False)
