"""The fixed validation and test sets, made once and shared by all runs that are measured on them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mathkernels.data.arithmetic import Task
from mathkernels.data.distributions import ranges_text
from mathkernels.ensemble.describe import Run
from mathkernels.ensemble.streams import require_squares

LEAST, MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def _check(which: str, given: str, inputs: np.ndarray, target: np.ndarray) -> None:
    """Raise ValueError where a set holds what modules cannot be measured on: they divide by their inputs."""
    what = f"Task.{'interpolation' if which == 'validation' else 'extrapolation'}: got {given!r}"
    if not inputs.all() or not np.isfinite(inputs).all():
        raise ValueError(f"{what}, needs numbers that float32 holds, {LEAST:.2g} to {MOST:.2g} in size")
    if not np.isfinite(target).all():
        raise ValueError(f"{what}, needs a range whose targets float32 holds, up to {MOST:.2g}")


class EvaluationSets:
    """Cache of (inputs (I,N), target (N,)); inputs are shared by all seeds, targets by all equal subsets."""

    def __init__(self) -> None:
        self._sets: dict[object, tuple[np.ndarray, np.ndarray]] = {}
        self._inputs: dict[object, np.ndarray] = {}
        self._drawn: tuple[object, np.ndarray] | None = None  # the latest inputs in float64

    def get(
        self, run: Run, which: Literal["validation", "test"], real: np.dtype
    ) -> tuple[np.ndarray, np.ndarray]:
        task: Task = run.task
        ranges = task.interpolation if which == "validation" else task.extrapolation
        drawn = (ranges, which, task.inputs)
        key = (drawn, task.operation, real, tuple(task.subsets(run.seed)))
        if key not in self._sets:
            if self._drawn is None or self._drawn[0] != drawn:
                self._drawn = (drawn, task.evaluation_inputs(which))
            x = self._drawn[1]
            if (drawn, real) not in self._inputs:
                with np.errstate(over="ignore"):  # is refused below
                    self._inputs[drawn, real] = np.ascontiguousarray(x.T.astype(np.float32), dtype=real)
            with np.errstate(all="ignore"):
                exact = task.target(x, run.seed)
                target = exact.astype(np.float32)  # the published sets are float32
            _check(which, ranges_text(ranges), self._inputs[drawn, real], target)
            require_squares(task, ranges, exact, real)
            self._sets[key] = (self._inputs[drawn, real], target.astype(real))
        return self._sets[key]

    @property
    def nbytes(self) -> int:
        """Memory of all sets, shared inputs counted once."""
        return sum(x.nbytes for x in self._inputs.values()) + sum(t.nbytes for _, t in self._sets.values())
