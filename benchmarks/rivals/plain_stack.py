"""One model of two layers in a plain loop, as a script trains it: nn.Module, autograd, torch.optim.Adam."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from cases import BATCH
from module_cases import ModuleCase
from torch import Tensor, nn


class NAU(nn.Module):
    def __init__(self, weight: Tensor, penalty: float) -> None:
        super().__init__()
        self.weight, self.penalty = nn.Parameter(weight), penalty

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.clamp(-1, 1))

    def regularizer(self) -> Tensor:
        size = self.weight.abs()
        return self.penalty * torch.mean(torch.min(size, (1 - size).abs()))

    def clamp_(self) -> None:
        self.weight.data.clamp_(-1, 1)


class NMU(nn.Module):
    def __init__(self, weight: Tensor, penalty: float) -> None:
        super().__init__()
        self.weight, self.penalty = nn.Parameter(weight), penalty

    def forward(self, x: Tensor) -> Tensor:
        return torch.prod(x[:, None] * self.weight + 1 - self.weight, dim=-1)

    def regularizer(self) -> Tensor:
        return self.penalty * torch.mean(torch.min(self.weight.abs(), (1 - self.weight).abs()))

    def clamp_(self) -> None:
        self.weight.data.clamp_(0, 1)


class PlainStack:
    """An NAU and an NMU behind it; times one model of the last range, proves one seed of each range."""

    models = 1

    def __init__(self, case: ModuleCase) -> None:
        self.case = case
        self.low, self.width = float(case.low[-1]), float(case.width[-1])

    def _train(self, model: int, iterations: int, inputs: Callable[[int], Tensor]) -> nn.Module:
        units = [part.unit for part in self.case.parts]
        start = [torch.tensor(values[model]) for values in self.case.start.values()]
        first, second = NAU(start[0], units[0].penalty), NMU(start[1], units[1].penalty)
        module = nn.Sequential(first, second)
        optimizer = torch.optim.Adam(module.parameters(), lr=self.case.lr)
        spans = self.case.spans
        for t in range(iterations):
            x = inputs(t)
            a, b = (x[:, begin : begin + size].sum(1) for begin, size in spans)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(module(x)[:, 0], a * b)
            (loss + first.regularizer() + second.regularizer()).backward()
            optimizer.step()
            first.clamp_()
            second.clamp_()
        return module

    def prove(self, iterations: int) -> np.ndarray:
        """Return NaN for the models that were left out."""
        drawn = [torch.from_numpy(self.case.inputs_at(t)) for t in range(iterations)]
        found = np.full(self.case.vectors_shape, np.nan, np.float32)
        for model in range(0, self.case.models, 1 if len(self.case.ranges) == 1 else self.case.seeds):
            module = self._train(model, iterations, lambda t, model=model: drawn[t][model])
            found[model] = torch.cat([p.detach().flatten() for p in module.parameters()]).numpy()
        return found

    def time(self, iterations: int) -> float:
        begin = time.perf_counter()
        self._train(
            self.case.models - 1,
            iterations,
            lambda t: torch.rand(BATCH, self.case.inputs) * self.width + self.low,
        )
        return time.perf_counter() - begin
