"""(d) All models in one tensor, gradients written by hand, operations in place: the strongest rival in torch.

Tensors are (I,R,S,B): inputs, ranges, seeds, samples. Every large tensor is made once and written with out=.
What made it fast, found by measuring single operations on one core: mul and add with one broadcast operand
(addcmul with two leaves the vectorised loop), vecdot for sums over the batch, numpy's SFC64 for the uniforms
(torch draws three times slower), and for the Real NPU separate formulas for ranges whose inputs never change
their sign.
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


def affine(source: Tensor, factor: Tensor, shift: Tensor, out: Tensor) -> Tensor:
    return torch.mul(source, factor, out=out).add_(shift)


class Adam:
    """torch.optim.Adam's arithmetic in place, for one tensor, then the clamp to [low, 1]."""

    def __init__(self, parameter: Tensor, lr: float, low: Tensor) -> None:
        self.parameter, self.lr, self.low, self.high = parameter, lr, low, torch.ones(())
        self.first, self.second = torch.zeros_like(parameter), torch.zeros_like(parameter)
        self.denominator = torch.empty_like(parameter)

    def step(self, gradient: Tensor, t: int) -> None:
        self.first.lerp_(gradient, 0.1)
        self.second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        torch.sqrt(self.second, out=self.denominator).mul_((1 - 0.999 ** (t + 1)) ** -0.5).add_(1e-8)
        self.parameter.addcdiv_(self.first, self.denominator, value=-self.lr / (1 - 0.9 ** (t + 1)))
        self.parameter.clamp_(self.low, self.high)


def unit_slope(w: Tensor) -> Tensor:
    """Slope of min(|w|, |1 - w|) for w in [0, 1]."""
    return (1 - w).mul_(w).mul_(0.5 - w).sign_()


class NMUGroup:
    """All models of a case with the NMU, ranges given by low and width (R)."""

    def __init__(self, case: Case, rows: np.ndarray) -> None:
        self.inputs, self.penalty = case.inputs, case.module.penalty / case.inputs
        ranges = len(case.low[rows])
        self.shift = torch.from_numpy(case.low[rows]).view(-1, 1, 1) - 1
        self.width = torch.from_numpy(case.width[rows]).view(-1, 1, 1)
        weight = case.start["weight"].reshape(-1, SEEDS, case.inputs)[rows]
        self.weight = torch.from_numpy(weight).permute(2, 0, 1).unsqueeze(3).contiguous()
        self.parameters = self.weight
        self.adam = Adam(self.weight, case.lr, torch.zeros(()))
        large = (case.inputs, ranges, SEEDS, BATCH)
        self.y, self.factor, self.before = (torch.empty(large) for _ in range(3))
        self.error, self.others = torch.empty(large[1:]), torch.empty(large[1:])
        self.sums = torch.empty(large[:3])

    def step(self, u: Tensor, t: int) -> None:
        """u (I,1,S,B) or (I,R,S,B), uniform on [0, 1)."""
        y, factor, before, error, others = self.y, self.factor, self.before, self.error, self.others
        affine(u, self.width, self.shift, y)  # x - 1
        torch.mul(y, self.weight, out=factor).add_(1)
        torch.add(y[0], 1, out=error)
        error.addcmul_(error, y[1])  # the target (y0 + 1)(y1 + 1)
        last = self.inputs - 1
        product = factor[0]  # of the factors before each input
        for i in range(1, last):
            product = torch.mul(product, factor[i], out=before[i])
        error.addcmul_(product, factor[last], value=-1).neg_()
        torch.linalg.vecdot(torch.mul(error, product, out=others), y[last], out=self.sums[last])
        for i in range(last - 1, -1, -1):
            error.mul_(factor[i + 1])  # times the factors after it
            if i == 0:
                torch.linalg.vecdot(error, y[0], out=self.sums[0])
                break
            ahead = factor[0] if i == 1 else before[i - 1]
            torch.linalg.vecdot(torch.mul(error, ahead, out=others), y[i], out=self.sums[i])
        gradient = self.sums.mul_(2 / BATCH).unsqueeze(3).add_(unit_slope(self.weight), alpha=self.penalty)
        self.adam.step(gradient, t)


class RealNPUGroup:
    """Models of a case with the Real NPU; ``one_sided``: no range contains 0, so that signs are constants."""

    def __init__(self, case: Case, rows: np.ndarray, one_sided: bool) -> None:
        module: Any = case.module
        self.inputs, self.one_sided, self.beta = case.inputs, one_sided, module.norm.start
        self.epsilon = module.epsilon
        low, width = (torch.from_numpy(v[rows]).view(-1, 1, 1) for v in (case.low, case.width))
        self.negative = (low < 0).float()
        turn = 1 - 2 * self.negative if one_sided else torch.ones_like(low)
        self.low, self.width = low * turn, width * turn
        start = [case.start[name].reshape(-1, SEEDS, case.inputs)[rows] for name in ("weight", "gate")]
        self.parameters = (
            torch.from_numpy(np.concatenate(start, 2)).permute(2, 0, 1).unsqueeze(3).contiguous()
        )
        self.weight, self.gate = self.parameters.split(case.inputs)
        self.gradient = torch.empty_like(self.parameters)
        self.adam = Adam(
            self.parameters,
            case.lr,
            torch.tensor([-1.0, 0.0]).repeat_interleave(case.inputs).view(-1, 1, 1, 1),
        )
        large = (case.inputs, len(low), SEEDS, BATCH)
        self.x, self.y, self.r, self.log, self.scaled = (torch.empty(large) for _ in range(5))
        self.error, self.power, self.cosine, self.sine = (torch.empty(large[1:]) for _ in range(4))
        self.log_sums, self.ratio_sums = torch.empty(large[:3]), torch.empty(large[:3])

    def step(self, u: Tensor, t: int) -> None:
        """u (I,1,S,B) or (I,R,S,B), uniform on [0, 1)."""
        affine(u, self.width, self.low, self.x)  # |x| if one-sided
        magnitude = self.x if self.one_sided else torch.abs(self.x, out=self.y)
        torch.add(magnitude, self.epsilon - 1, out=self.y)
        torch.mul(self.y, self.gate, out=self.r).add_(1)  # gates are clamped to [0, 1] after each step
        torch.log(self.r, out=self.log)
        torch.mul(self.log, self.weight, out=self.scaled)
        power = torch.add(self.scaled[0], self.scaled[1], out=self.power)
        for part in self.scaled[2:]:
            power.add_(part)
        power.exp_()
        torch.div(
            self.x[0], self.x[1], out=self.error
        )  # the target: both operands have one range, so one sign
        down = self._one_sided() if self.one_sided else self._mixed()
        torch.div(self.y, self.r, out=self.scaled)
        for i in range(self.inputs):
            torch.linalg.vecdot(self.cosine, self.log[i], out=self.log_sums[i])
            torch.linalg.vecdot(self.cosine, self.scaled[i], out=self.ratio_sums[i])
        by_weight, by_gate = self.gradient.split(self.inputs)
        torch.sub(self.log_sums.unsqueeze(3), self.gate * down, out=by_weight)
        torch.sub(self.ratio_sums.unsqueeze(3), down, out=by_gate).mul_(self.weight)
        self.gradient.mul_(2 / BATCH)
        signs = self.parameters.sign()
        self.gradient.add_(signs, alpha=self.beta)
        by_weight.addcmul_((self.weight.abs() - 1).sign_(), signs[: self.inputs], value=1 / self.inputs)
        by_gate.add_(unit_slope(self.gate), alpha=1 / self.inputs)
        self.adam.step(self.gradient, t)

    def _one_sided(self) -> Tensor:
        """Leave dz/dA times the error in ``cosine``; return pi times the negative inputs' sums (R,S,1)."""
        angle = (self.weight * self.gate).sum(0).mul_(self.negative).mul_(math.pi)
        cosine, sine = angle.cos(), angle.sin()
        torch.mul(self.power, cosine, out=self.cosine)
        torch.sub(self.cosine, self.error, out=self.error)
        total = torch.linalg.vecdot(self.error, self.power).unsqueeze(2)
        self.cosine.mul_(self.error)
        return total * sine * self.negative * math.pi

    def _mixed(self) -> Tensor:
        """Leave dz/dA times the error in ``cosine``; return pi times the negative inputs' sums (I,R,S,1)."""
        negative = torch.lt(self.x, 0, out=self.x)
        torch.mul(negative, self.weight * self.gate, out=self.scaled)
        angle = torch.sum(self.scaled, 0, out=self.sine).mul_(math.pi)
        torch.cos(angle, out=self.cosine).mul_(self.power)
        torch.sub(self.cosine, self.error, out=self.error)
        self.sine.sin_().mul_(self.power).mul_(self.error)
        self.cosine.mul_(self.error)
        return torch.linalg.vecdot(self.sine.unsqueeze(0), negative).unsqueeze(3).mul_(math.pi)


class ManualTorch:
    """``common``: one draw per seed for all ranges; ``split``: U[-2,2] apart from one-sided ranges."""

    def __init__(self, case: Case, common: bool, split: bool) -> None:
        self.case, self.common, self.split, self.models = case, common, split, case.models
        shape = (case.inputs, 1 if common else len(case.low), SEEDS, BATCH)
        self.uniform = np.empty(shape, np.float32)
        self.source = np.random.Generator(np.random.SFC64(0))
        self._restart()

    def _restart(self) -> None:
        case = self.case
        everything = np.arange(len(case.low))
        if case.operation == "mul":
            self.rows, self.groups = [everything], [NMUGroup(case, everything)]
        elif self.split:
            crossing = case.low * (case.low + case.width) < 0
            self.rows = [everything[~crossing], everything[crossing]]
            self.groups = [RealNPUGroup(case, rows, i == 0) for i, rows in enumerate(self.rows)]
        else:
            self.rows, self.groups = [everything], [RealNPUGroup(case, everything, False)]

    def _train(self, iterations: int, uniforms: Callable[[int], Tensor]) -> None:
        with torch.inference_mode():
            for t in range(iterations):
                u = uniforms(t)
                for rows, group in zip(self.rows, self.groups, strict=True):
                    group.step(u if u.shape[1] == 1 else u[:, rows], t)

    def _drawn(self, t: int) -> Tensor:
        self.source.random(out=self.uniform, dtype=np.float32)
        return torch.from_numpy(self.uniform)

    def prove(self, iterations: int) -> np.ndarray:
        """Feeds inputs scaled back to uniforms in float64, which costs a rounding."""
        self._restart()
        low, width = (v.astype(np.float64).reshape(-1, 1, 1, 1) for v in (self.case.low, self.case.width))

        def given(t: int) -> Tensor:
            u = (self.case.inputs_at(t) - low) / width
            return torch.from_numpy(u.transpose(3, 0, 1, 2).astype(np.float32))

        self._train(iterations, given)
        found = torch.cat([group.parameters[..., 0] for group in self.groups], dim=1)
        back = np.argsort(np.concatenate(self.rows))
        return found[:, back].flatten(1).T.numpy()

    def time(self, iterations: int) -> float:
        begin = time.perf_counter()
        self._train(iterations, self._drawn)
        return time.perf_counter() - begin
