"""(a) One model in a plain loop, as the papers' scripts train it: nn.Module, autograd, torch.optim.Adam."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from cases import BATCH, SEEDS, Case
from torch import Tensor, nn


class NMU(nn.Module):
    def __init__(self, start: dict[str, Tensor], penalty: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(start["weight"])
        self.penalty = penalty

    def forward(self, x: Tensor) -> Tensor:
        return torch.prod(self.weight * x + 1 - self.weight, dim=-1)

    def regularizer(self) -> Tensor:
        return self.penalty * torch.mean(torch.min(self.weight.abs(), (1 - self.weight).abs()))

    def clamp_(self) -> None:
        self.weight.data.clamp_(0, 1)


class RealNPU(nn.Module):
    def __init__(self, start: dict[str, Tensor], epsilon: float, beta: float) -> None:
        super().__init__()
        self.weight, self.gate = nn.Parameter(start["weight"]), nn.Parameter(start["gate"])
        self.epsilon, self.beta = epsilon, beta

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate.clamp(0, 1)
        magnitude = gate * (x.abs() + self.epsilon) + (1 - gate)
        angle = torch.where(x < 0, math.pi, 0.0) * gate
        return torch.exp(magnitude.log() @ self.weight) * torch.cos(angle @ self.weight)

    def regularizer(self) -> Tensor:
        discrete = (1 - self.weight.abs()).abs().mean() + torch.min(
            self.gate.abs(), (1 - self.gate).abs()
        ).mean()
        return discrete + self.beta * (self.weight.abs().sum() + self.gate.abs().sum())

    def clamp_(self) -> None:
        self.weight.data.clamp_(-1, 1)
        self.gate.data.clamp_(0, 1)


class PlainTorch:
    """Times one model (the first seed of U[1,2]); proves a model of each range."""

    models = 1

    def __init__(self, case: Case) -> None:
        self.case = case
        self.timed = 6 * SEEDS

    def _train(self, model: int, iterations: int, inputs: Callable[[int], Tensor]) -> nn.Module:
        case, given = self.case, self.case.module
        start = {name: torch.tensor(values[model]) for name, values in case.start.items()}
        if case.operation == "mul":
            module: nn.Module = NMU(start, given.penalty)
        else:
            module = RealNPU(start, given.epsilon, given.norm.start)
        optimizer = torch.optim.Adam(module.parameters(), lr=case.lr)
        for t in range(iterations):
            x = inputs(t)
            target = x[:, 0] * x[:, 1] if case.operation == "mul" else x[:, 0] / x[:, 1]
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(module(x), target) + module.regularizer()
            loss.backward()
            optimizer.step()
            module.clamp_()
        return module

    def prove(self, iterations: int) -> np.ndarray:
        """Return NaN for the models that were left out."""
        drawn = [torch.from_numpy(self.case.inputs_at(t)).flatten(0, 1) for t in range(iterations)]
        total = len(self.case.low) * SEEDS
        found = np.full((total, sum(v.shape[1] for v in self.case.start.values())), np.nan, np.float32)
        for model in range(0, total, SEEDS):
            module = self._train(model, iterations, lambda t, model=model: drawn[t][model])
            found[model] = torch.cat(list(module.parameters())).detach().numpy()
        return found

    def time(self, iterations: int) -> float:
        low, width = (float(v[self.timed // SEEDS]) for v in (self.case.low, self.case.width))
        begin = time.perf_counter()
        self._train(self.timed, iterations, lambda t: torch.rand(BATCH, self.case.inputs) * width + low)
        return time.perf_counter() - begin
