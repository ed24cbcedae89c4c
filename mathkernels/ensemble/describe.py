"""Plain descriptions of training runs: what is trained, on what, how. Nothing here computes.

A run is one module trained on one task from one seed. Every description is a frozen dataclass that checks its
own fields, so that an impossible run fails where it is written down and not an hour later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from mathkernels.data.arithmetic import Task
from mathkernels.ensemble import modules
from mathkernels.ensemble.checks import (
    choice,
    count_field,
    flag,
    is_number,
    keep,
    limit_field,
    number_fields,
    plain,
    require,
    valid_seed,
)
from mathkernels.ensemble.custom.module import Custom, CustomTensor
from mathkernels.ensemble.modules import *  # noqa: F403
from mathkernels.ensemble.modules import EPSILON, Unit
from mathkernels.ensemble.schedules import Norm, Ramp, Restarts

__all__ = [
    "CRITERIA",
    "EPSILON",
    "SGD",
    "Adam",
    "Custom",
    "CustomTensor",
    "Norm",
    "Ramp",
    "Restarts",
    "Run",
    "Unit",
]
__all__ += modules.__all__

CRITERIA = ("mse", "pcc", "mape")
MOST_ITERATIONS = 2**31 - 1
MOST_ROWS = 1_000_000  # that a run logs, 40 bytes each
MOST_SAMPLES = 2**20  # of a batch


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma & Ba 2015) as torch.optim.Adam does it, without weight decay."""

    name: ClassVar[str] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        number_fields(self, "lr", "eps")
        fits = isinstance(self.betas, tuple) and len(self.betas) == 2
        fits = fits and all(is_number(beta) and 0 <= beta < 1 for beta in self.betas)
        require(fits, "Adam.betas", self.betas, "a tuple of two numbers in [0, 1)")
        keep(self, "betas", tuple(map(plain, self.betas)))


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Gradient descent with momentum as torch.optim.SGD does it; no dampening, Nesterov or weight decay."""

    name: ClassVar[str] = "sgd"
    lr: float = 1e-2
    momentum: float = 0.0

    def __post_init__(self) -> None:
        number_fields(self, "lr")
        fits = is_number(self.momentum) and 0 <= self.momentum < 1
        require(fits, "SGD.momentum", self.momentum, "a number in [0, 1)")
        keep(self, "momentum", plain(self.momentum))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One module, one task, one seed, trained for t = 0 … ``iterations`` (so iterations + 1 updates).

    Args:
        module, task, optimizer: see their classes.
        seed: of the initial weights (torch), the subset offset (numpy) and the training stream.
        iterations: T, below 2**31; the papers use 50,000 (2 inputs) and 100,000 (10 inputs).
        evaluate_every: a row is logged whenever t is a multiple of it, before the update of that iteration; a
            million rows at most.
        batch: fresh samples per iteration, a multiple of 32 up to 2**20.
        ramp: rise of the discretisation penalties, or None for full weight throughout.
        clip_norm: limit of the total gradient norm, or None.
        wide_norm: compute the limited norm so that it does not overflow. By default its squares overflow in
            float32 from 1.8e19 on and the update becomes 0, as in the published experiments.
        clip_value: limit of every entry of the gradient, or None; not beside clip_norm.
        restarts: when the model starts anew, or None.
        criterion: what is trained on: "mse"; "pcc", 1 - Pearson's correlation over the batch; or "mape", the
            mean of |(t - z) / t|. The logged errors are mean squared errors in any case.
        threshold: a run is solved if the test MSE at its best row is below this.
    """

    module: modules.Module
    task: Task
    seed: int
    optimizer: Adam | SGD = field(default_factory=Adam)
    iterations: int = 50_000
    evaluate_every: int = 1_000
    batch: int = 128
    ramp: Ramp | None = None
    clip_norm: float | None = None
    wide_norm: bool = False
    clip_value: float | None = None
    restarts: Restarts | None = None
    criterion: Literal["mse", "pcc", "mape"] = "mse"
    threshold: float = 1e-5

    def __post_init__(self) -> None:
        require(
            isinstance(self.module, modules.Module),
            "Run.module",
            self.module,
            "one of " + ", ".join([*modules.MODULES, Custom.name]),
        )
        require(isinstance(self.task, Task), "Run.task", self.task, "a Task")
        require(
            isinstance(self.optimizer, (Adam, SGD)), "Run.optimizer", self.optimizer, "Adam(...) or SGD(...)"
        )
        keep(self, "seed", valid_seed("Run.seed", self.seed))
        count_field(self, "iterations", 0, MOST_ITERATIONS)
        count_field(self, "evaluate_every", 1)
        least = self.iterations // MOST_ROWS + 1
        right = f"at least {least:,}: a run of {self.iterations:,} iterations logs at most {MOST_ROWS:,} rows"
        require(self.evaluate_every >= least, "Run.evaluate_every", self.evaluate_every, right)
        count_field(self, "batch", 32, MOST_SAMPLES)
        require(self.batch % 32 == 0, "Run.batch", self.batch, "a multiple of 32")
        require(self.ramp is None or isinstance(self.ramp, Ramp), "Run.ramp", self.ramp, "a Ramp or None")
        limit_field(self, "clip_norm")
        limit_field(self, "clip_value")
        both = self.clip_norm is not None and self.clip_value is not None
        require(not both, "Run.clip_value", self.clip_value, f"None beside clip_norm={self.clip_norm}")
        flag("Run.wide_norm", self.wide_norm)
        if self.restarts is not None:
            require(isinstance(self.restarts, Restarts), "Run.restarts", self.restarts, "a Restarts or None")
            window = self.restarts.window
            right = f"fewer than the {self.rows} rows that the run logs"
            require(window < self.rows, "Run.restarts.window", window, right)
        choice("Run.criterion", self.criterion, CRITERIA)
        number_fields(self, "threshold")

    @property
    def rows(self) -> int:
        """How many rows a finished run has logged."""
        return self.iterations // self.evaluate_every + 1
