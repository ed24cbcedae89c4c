"""(b) All models in one tensor with autograd, eager or through torch.compile.

Tensors are (I,E,B), so that every operation is contiguous; a product over few inputs is written out, because
torch.prod's backward is slower. The ranges of a seed may share their uniforms ("common"), as in our own runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cases import BATCH, SEEDS, Case
from torch import Tensor

Parameters = tuple[Tensor, ...]  # weight (I,E,1), and gate (I,E,1)


def nmu_loss(x: Tensor, target: Tensor, parameters: Parameters, module: Any) -> Tensor:
    """x (I,E,B), target (E,B) -> the sum of all models' losses."""
    (weight,) = parameters
    factors = (weight * (x - 1) + 1).unbind(0)
    z = factors[0]
    for factor in factors[1:]:
        z = z * factor
    discrete = torch.minimum(weight.abs(), (1 - weight).abs()).mean(0).sum()
    return (z - target).square().mean(1).sum() + module.penalty * discrete


def real_npu_loss(x: Tensor, target: Tensor, parameters: Parameters, module: Any) -> Tensor:
    """x (I,E,B), target (E,B) -> the sum of all models' losses."""
    weight, gate = parameters
    relevance = gate.clamp(0, 1)
    power = (weight * torch.log(relevance * (x.abs() + (module.epsilon - 1)) + 1)).sum(0)
    angle = torch.where(x < 0, weight * relevance, 0.0).sum(0)
    z = power.exp() * torch.cos(math.pi * angle)
    discrete = (1 - weight.abs()).abs().mean(0).sum() + torch.minimum(gate.abs(), (1 - gate).abs()).mean(
        0
    ).sum()
    norm = module.norm.start * (weight.abs().sum() + gate.abs().sum())
    return (z - target).square().mean(1).sum() + discrete + norm


class BatchedTorch:
    """Autograd over all 225 models; ``compiled`` lets inductor fuse draws, loss, gradient, Adam, clamps."""

    def __init__(self, case: Case, compiled: bool, common: bool) -> None:
        self.case, self.common, self.models = case, common, case.models
        self.low = torch.from_numpy(case.low).view(1, -1, 1, 1)
        self.width = torch.from_numpy(case.width).view(1, -1, 1, 1)
        self._restart()
        self.sample = torch.compile(self._sample, dynamic=False) if compiled else self._sample
        self.step = torch.compile(self._functional, dynamic=False) if compiled else self._stateful

    def _restart(self) -> None:
        self.parameters = tuple(torch.from_numpy(v.T.copy()).unsqueeze(2) for v in self.case.start.values())
        self.moments = tuple((torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters)
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.case.lr, fused=True)

    def _sample(self) -> Tensor:
        shape = (self.case.inputs, 1 if self.common else len(self.case.low), SEEDS, BATCH)
        return (torch.rand(shape) * self.width + self.low).flatten(1, 2)

    def _loss(self, parameters: Parameters, x: Tensor) -> Tensor:
        if self.case.operation == "mul":
            return nmu_loss(x, x[0] * x[1], parameters, self.case.module)
        return real_npu_loss(x, x[0] / x[1], parameters, self.case.module)

    def _clamped(self, parameters: Parameters) -> Parameters:
        low = 0 if self.case.operation == "mul" else -1
        return parameters[0].clamp(low, 1), *(gate.clamp(0, 1) for gate in parameters[1:])

    def _limited(self, gradients: Parameters) -> Parameters:
        return gradients

    def _stateful(self, x: Tensor, t: int) -> None:
        for p in self.parameters:
            p.requires_grad_()
        self._loss(self.parameters, x).backward()
        gradients = tuple(p.grad for p in self.parameters if p.grad is not None)
        for p, gradient in zip(self.parameters, self._limited(gradients), strict=True):
            p.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for p, clamped in zip(self.parameters, self._clamped(self.parameters), strict=True):
                p.copy_(clamped)

    def _functional(
        self, parameters: Parameters, moments: tuple[tuple[Tensor, Tensor], ...], x: Tensor, bias: Tensor
    ) -> tuple[Parameters, tuple[tuple[Tensor, Tensor], ...]]:
        """One iteration without side effects; ``bias`` holds 1 - b1^t and sqrt(1 - b2^t)."""
        gradients = self._limited(torch.func.grad(self._loss)(parameters, x))
        stepped, kept = [], []
        for p, (m, v), g in zip(parameters, moments, gradients, strict=True):
            m, v = m + 0.1 * (g - m), 0.999 * v + 0.001 * g * g
            stepped.append(p - self.case.lr / bias[0] * m / (v.sqrt() / bias[1] + 1e-8))
            kept.append((m, v))
        return self._clamped(tuple(stepped)), tuple(kept)

    def _train(self, iterations: int, inputs: Callable[[int], Tensor]) -> None:
        if self.step == self._stateful:
            for t in range(iterations):
                self._stateful(inputs(t), t)
            return
        for t in range(iterations):
            bias = torch.tensor([1 - 0.9 ** (t + 1), math.sqrt(1 - 0.999 ** (t + 1))])
            self.parameters, self.moments = self.step(self.parameters, self.moments, inputs(t), bias)

    def prove(self, iterations: int) -> np.ndarray:
        self._restart()
        drawn = [torch.from_numpy(self.case.inputs_at(t)).permute(3, 0, 1, 2) for t in range(iterations)]
        self._train(iterations, lambda t: drawn[t].flatten(1, 2).contiguous())
        found = torch.cat([p.detach()[:, :, 0] for p in self.parameters])
        return found.T.numpy()

    def time(self, iterations: int) -> float:
        begin = time.perf_counter()
        self._train(iterations, lambda t: self.sample())
        return time.perf_counter() - begin
