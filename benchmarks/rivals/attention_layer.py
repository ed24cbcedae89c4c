"""What the participants of the attention benchmarks that run in torch share: leaves, proof and clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from attention_cases import Arrays, AttentionCase
from torch import Tensor

Leaves = dict[str, Tensor]


class AttentionLayer:
    """A decoder with the weights of a case, run forward alone or forward and backward.

    The models of a case are called one after the other, each with its own leaves, whose names are those of
    ``AttentionCase.given``. Who takes all of them in one call sets ``together``.
    """

    together = False
    models = 1

    def __init__(self, case: AttentionCase, dtype: torch.dtype = torch.float32) -> None:
        self.case = case
        given = {name: torch.from_numpy(values).to(dtype) for name, values in case.given.items()}
        dy = [torch.from_numpy(gradient).to(dtype) for gradient in case.gradients]
        numbers = range(case.models)
        self.calls: list[Leaves] = (
            [given] if self.together else [{name: v[m].clone() for name, v in given.items()} for m in numbers]
        )
        self.dy = [dy] if self.together else [[gradient[m].clone() for gradient in dy] for m in numbers]
        for leaves in self.calls:
            for leaf in leaves.values():
                leaf.requires_grad_()

    def outputs(self, leaves: Leaves) -> tuple[Tensor, Tensor]:
        """Return the states and the contexts of all steps, (T,B,H) each; with ``together`` (E,T,B,H)."""
        raise NotImplementedError

    def step(self) -> list[tuple[Tensor, ...]]:
        """Return for each call states, contexts and the gradients of all leaves in order."""
        found = []
        for leaves, dy in zip(self.calls, self.dy, strict=True):
            outputs = self.outputs(leaves)
            found.append((*outputs, *torch.autograd.grad(outputs, list(leaves.values()), dy)))
        return found

    def run(self) -> list[tuple[Tensor, ...]]:
        return [self.outputs(leaves) for leaves in self.calls]

    def prove(self, count: int) -> Arrays:
        """Return states and contexts of both passes, and the gradients by name, all with a leading E."""
        names = ("forward y", "forward context", "y", "context", *self.case.given)
        with torch.no_grad():
            forward = self.run()
        both = [(*a, *b) for a, b in zip(forward, self.step(), strict=True)]
        join = torch.cat if self.together else torch.stack
        return {
            name: join(list(parts)).detach().numpy()
            for name, parts in zip(names, zip(*both, strict=True), strict=True)
        }

    def forward(self, count: int) -> float:
        """Return the seconds of ``count`` passes without gradients."""
        with torch.no_grad():
            return _seconds(self.run, count)

    def training(self, count: int) -> float:
        """Return the seconds of ``count`` passes forward and backward."""
        return _seconds(self.step, count)


def _seconds(call: Callable[[], object], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - begin
