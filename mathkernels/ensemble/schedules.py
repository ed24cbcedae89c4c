"""How penalties grow over the iterations, and when a model starts anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mathkernels.ensemble.checks import count_field, keep, number, number_fields, require


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """Linear rise of the discretisation penalties: clip((t - start) / (end - start), 0, 1) at iteration t."""

    start: int
    end: int

    def __post_init__(self) -> None:
        count_field(self, "start", 0)
        count_field(self, "end", 0)
        require(self.end > self.start, "Ramp.end", self.end, f"an iteration after start={self.start}")

    def at(self, t: int) -> float:
        return float(self.over(np.array([t]))[0])

    def over(self, t: np.ndarray) -> np.ndarray:
        return np.clip((t - self.start) / (self.end - self.start), 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Restarts:
    """Starts a model anew from other initial values if it does not improve (Schloer et al. 2020, iNALU).

    At logged iterations that ``every`` divides, once more than ``window`` validation errors are stored since
    the start or the last restart: if mean(first half) <= mean(second half) + deviation(second half) and
    mean(second half) > ``above``, the parameters are drawn again after that iteration's update. The
    deviation is that of the whole half. The optimiser's moments and the schedules go on, since the source
    does not say otherwise, and the best row stays the best of all starts.

    Args:
        window: of logged rows; a run must log more than that, so ``Run.evaluate_every`` decides its length.
        every: in iterations.
        above: what the mean validation error must exceed.
    """

    window: int = 5_000
    every: int = 10
    above: float = 1.0

    def __post_init__(self) -> None:
        count_field(self, "window", 1)
        count_field(self, "every", 1)
        number_fields(self, "above")


@dataclass(frozen=True, kw_only=True)
class Norm:
    """Norm penalty beta(t) * sum of ||p||_order over the parameter tensors p.

    beta starts at ``start`` and is multiplied by ``growth`` at every ``every``-th iteration (never at 0)
    while it is below ``end``. order 1 sums absolute values; order 2 is the Euclidean norm, not squared.
    """

    start: float = 1e-9
    end: float = 1e-7
    every: int = 10_000
    growth: float = 10.0
    order: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        number_fields(self, "start")
        right = f"a finite number of at least start={self.start}"
        keep(self, "end", number("Norm.end", self.end, self.start, right))
        count_field(self, "every", 1)
        keep(self, "growth", number("Norm.growth", self.growth, 1, "a finite number of at least 1"))
        count_field(self, "order", 1)
        require(self.order in (1, 2), "Norm.order", self.order, "1 or 2")

    def at(self, t: int) -> float:
        beta = self.start
        # the tolerance keeps 1e-9 -> 1e-7 at exactly two steps whatever the rounding of the products
        for _ in range(t // self.every):
            if beta == 0 or beta >= self.end * (1 - 1e-9):
                break
            beta *= self.growth
        return beta

    def over(self, t: np.ndarray) -> np.ndarray:
        epochs, which = np.unique(t // self.every, return_inverse=True)
        return np.array([self.at(int(epoch) * self.every) for epoch in epochs])[which]
