"""The sequence ops as their tests see them: functions of a list of leaves, and inputs for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mathkernels import ops, reference

# E, T, B, I, H, D: one, primes, hidden units and rows around packs and blocks, both directions
SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (2, 3, 5, 2, 3, 2),
    (1, 4, 33, 3, 17, 1),
    (3, 5, 7, 13, 20, 2),
    (1, 6, 6, 1, 16, 1),
    (2, 3, 31, 40, 33, 1),
    (1, 9, 130, 2, 5, 2),
    (1, 40, 4, 2, 100, 1),
]
SHORT = (2, 3, 3, 2, 2, 2)
EMPTY_SHAPES = [(0, 3, 2, 2, 3, 1), (2, 0, 2, 2, 3, 2), (2, 3, 0, 2, 3, 1), (2, 3, 2, 0, 3, 2)]


@dataclass(frozen=True)
class Case:
    """One op with what is given to it: leaves are x (unless symbols), weights, biases and states."""

    kind: str
    biases: bool = True
    states: bool = True
    lengths: bool = False
    symbols: bool = False
    bfloat16: bool = False

    @property
    def gates(self) -> int:
        return {"lstm": 4, "gru": 3}[self.kind]

    @property
    def id(self) -> str:
        told = {
            "no biases": not self.biases,
            "no states": not self.states,
            "lengths": self.lengths,
            "symbols": self.symbols,
            "bfloat16": self.bfloat16,
        }
        return "-".join([self.kind, *(name for name, holds in told.items() if holds)])

    def leaves(self, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
        E, T, B, I, H, D = shape
        G, width = self.gates * H, max(H, 1) ** -0.5
        scaled = [(width, (E, D, G, I)), (width, (E, D, G, H))]
        scaled += [(width, (E, D, G))] * 2 if self.biases else []
        scaled += [(0.5, (E, D, B, H))] * (2 if self.kind == "lstm" else 1) if self.states else []
        drawn = [scale * torch.randn(size, dtype=torch.float64) for scale, size in scaled]
        x = [] if self.symbols else [torch.randn(E, T, B, I, dtype=torch.float64)]
        return [leaf.to(dtype) for leaf in (*x, *drawn)]

    def fixed(self, shape: Sequence[int]) -> tuple[Tensor | None, Tensor | None]:
        """Symbols (E,T,B) and lengths (E,B), the first of them 0 and the second T, the others in between."""
        E, T, B, I, _, _ = shape
        symbols = (torch.arange(E * T * B).reshape(E, T, B) * 7 + 3) % max(I, 1) if self.symbols else None
        lengths = None
        if self.lengths:
            lengths = (torch.arange(E * B).reshape(E, B) * 5) % (T + 1)
            lengths[:, 1:2] = T
        return symbols, lengths

    def arguments(self, shape: Sequence[int], leaves: Sequence[Tensor]) -> list[Tensor | None]:
        """x, weights, biases, states and lengths as the reference takes them."""
        symbols, lengths = (None if t is None else t.to(leaves[0].device) for t in self.fixed(shape))
        left = list(leaves)
        x = symbols if symbols is not None else left.pop(0)
        weights, left = left[:2], left[2:]
        biases, left = (left[:2], left[2:]) if self.biases else ([None, None], left)
        states = left if self.states else [None] * (2 if self.kind == "lstm" else 1)
        return [x, *weights, *biases, *states, lengths]

    def function(self, shape: Sequence[int]) -> Callable[..., tuple[Tensor, ...]]:
        """leaves -> y, hn and, of an LSTM, cn and cells, by the op."""
        options = {"return_cells": True} if self.kind == "lstm" else {}

        def run(*leaves: Tensor) -> tuple[Tensor, ...]:
            given = self.arguments(shape, leaves)
            return getattr(ops, self.kind)(*given, **options, bfloat16=self.bfloat16)

        return run

    def reference(self, shape: Sequence[int]) -> Callable[..., tuple[Tensor, ...]]:
        """The same in plain torch."""

        def run(*leaves: Tensor) -> tuple[Tensor, ...]:
            given = self.arguments(shape, leaves)
            return getattr(reference, self.kind)(*given, self.bfloat16)[: 4 if self.kind == "lstm" else 2]

        return run


def joined(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Tensor]:
    """All results of a function as one tensor."""
    return lambda *leaves: torch.cat([result.flatten() for result in function(*leaves)])


KINDS = [Case("lstm"), Case("gru")]
CASES = [
    changed
    for case in KINDS
    for changed in (
        case,
        replace(case, biases=False, states=False),
        replace(case, lengths=True),
        replace(case, symbols=True, states=False),
        replace(case, symbols=True, lengths=True),
    )
]


def assert_same_bits(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.equal(a, b), f"result {index} differs by up to {(a - b).abs().max()}"
