"""What the participants of the sequence benchmarks that run in torch share: gradients, proof and clock."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from sequence_cases import Arrays, SequenceCase
from torch import Tensor


class SequenceLayer(ABC):
    """A layer with the weights of a case, run forward alone (inference) or forward and backward.

    Attributes:
        leaves: whose gradients are asked for, under the names of ``SequenceCase.weights``, and "x" where its
            gradient is. A name's tensors are ordered by direction, then model; one may hold several models.
    """

    models = 1

    def __init__(self, case: SequenceCase) -> None:
        self.case = case
        self.leaves: dict[str, list[Tensor]] = {name: [] for name in case.weights}
        self._dy: list[Tensor] = []

    @abstractmethod
    def run(self) -> list[Tensor]:
        """Return the outputs: one tensor for each model, or one for all of them."""

    def step(self) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Return outputs, and the gradients of all leaves in order."""
        outputs = self.run()
        if not self._dy:  # made once, in the outputs' own shapes and dtype
            pieces = torch.from_numpy(self.case.dy).chunk(len(outputs))
            self._dy = [piece.to(y.dtype).reshape(y.shape) for piece, y in zip(pieces, outputs, strict=True)]
        given = [leaf for leaves in self.leaves.values() for leaf in leaves]
        return outputs, torch.autograd.grad(outputs, given, self._dy)

    def prove(self, count: int) -> Arrays:
        """Return "forward" and "y" (E,T,B,DH): the outputs of both passes; and the gradients by name."""
        with torch.no_grad():
            forward = self.run()
        y, gradients = self.step()
        size, rest = self.case.dy.shape, iter(gradients)
        found = {"forward": _joined(forward).reshape(size), "y": _joined(y).reshape(size)}
        for name, leaves in self.leaves.items():
            joined = _joined([next(rest) for _ in leaves])
            if name == "x":
                found[name] = joined.reshape(self.case.x.shape)
            else:
                models, directions, *size = self.case.weights[name].shape
                found[name] = joined.reshape(directions, models, *size).swapaxes(0, 1)
        return {name: value.numpy() for name, value in found.items()}

    def forward(self, count: int) -> float:
        """Return the seconds of ``count`` passes without gradients."""
        with torch.no_grad():
            return _seconds(self.run, count)

    def training(self, count: int) -> float:
        """Return the seconds of ``count`` passes forward and backward."""
        return _seconds(self.step, count)


def _joined(tensors: list[Tensor]) -> Tensor:
    joined = torch.cat([tensor.detach().flatten() for tensor in tensors])
    return joined.float() if joined.dtype == torch.bfloat16 else joined


def _seconds(call: Callable[[], object], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - begin
