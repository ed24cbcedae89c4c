"""The fixed validation and test sets, made once and shared by all runs that are measured on them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mathkernels.data.arithmetic import Task
from mathkernels.ensemble.describe import Run


class EvaluationSets:
    """Cache of (inputs (I,N), target (N,)); inputs are shared by all seeds, targets by all equal subsets."""

    def __init__(self) -> None:
        self._sets: dict[object, tuple[np.ndarray, np.ndarray]] = {}
        self._inputs: dict[object, np.ndarray] = {}

    def get(
        self, run: Run, which: Literal["validation", "test"], real: np.dtype
    ) -> tuple[np.ndarray, np.ndarray]:
        task: Task = run.task
        subsets = tuple(task.subsets(run.seed))
        key = (task, which, real, subsets)
        if key not in self._sets:
            x, target = task.evaluation_set(which, run.seed)
            ranges = task.interpolation if which == "validation" else task.extrapolation
            inputs = self._inputs.setdefault(
                (ranges, which, task.inputs, real), np.ascontiguousarray(x.T, dtype=real)
            )
            self._sets[key] = (inputs, target.astype(real))
        return self._sets[key]

    @property
    def nbytes(self) -> int:
        """Memory of all sets, shared inputs counted once."""
        return sum(x.nbytes for x in self._inputs.values()) + sum(t.nbytes for _, t in self._sets.values())
