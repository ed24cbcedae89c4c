"""What training gives back: the logged rows, the selected row of each run, its success, its weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mathkernels.ensemble.describe import Run
from mathkernels.ensemble.program import ROW_COLUMNS, TrainingProgram


class Results:
    """The outcome of a fit, finished or interrupted; N runs, R logged rows each.

    Attributes:
        runs: the N descriptions, in the order they were given.
        best_row: (N,) int, row of the lowest validation MSE (first on ties, NaN never), -1 if there is none.
        valid, test, sparsity: (N,) float64, MSEs and sparsity error at the best row, NaN without one.
        solved: (N,) bool, test MSE at the best row below the run's threshold.
        solved_at: (N,) float64, first logged iteration with a test MSE below the threshold, NaN if none.
        finished: (N,) bool.
        diverged: (N,) bool, a parameter is NaN or infinite.
        seconds: wall time of this fit and, after a resume, of the fits before it.
        interrupted: whether the fit was stopped by Ctrl-C.
    """

    def __init__(
        self, runs: Sequence[Run], programs: Sequence[TrainingProgram], seconds: float, interrupted: bool
    ) -> None:
        self.runs = tuple(runs)
        self.seconds = seconds
        self.interrupted = interrupted
        self._place = {i: (program, t, m) for program in programs for i, t, m in program.places()}
        count = len(self.runs)
        self.best_row = np.array([self._at(i, "best_row") for i in range(count)], dtype=np.int64).reshape(
            count
        )
        self.finished = np.array(
            [self._place[i][0].position == self._place[i][0].end for i in range(count)], bool
        )
        self.diverged = np.array([not self._is_finite(i) for i in range(count)], dtype=bool)
        chosen = np.full((count, len(ROW_COLUMNS)), np.nan)
        self.solved_at = np.full(count, np.nan)
        for i, run in enumerate(self.runs):
            if self.best_row[i] >= 0:
                chosen[i] = self._rows(i)[self.best_row[i]]
            solved = np.flatnonzero(self._rows(i)[:, ROW_COLUMNS.index("test")] < run.threshold)
            if len(solved):
                self.solved_at[i] = self.steps(i)[solved[0]]
        self.valid, self.test, self.sparsity = (
            chosen[:, ROW_COLUMNS.index(name)] for name in ("valid", "test", "sparsity")
        )
        self.solved = self.test < np.array([run.threshold for run in self.runs])

    def steps(self, i: int) -> np.ndarray:
        """Return the iterations (R,) at which run i has logged a row."""
        return np.arange(len(self._rows(i))) * self.runs[i].evaluate_every

    def curves(self, i: int) -> dict[str, np.ndarray]:
        """Return the logged rows of run i, each (R,): valid, test, sparsity, loss (of the batch), penalty."""
        return {name: self._rows(i)[:, column] for column, name in enumerate(ROW_COLUMNS)}

    def weights(self, i: int) -> dict[str, np.ndarray]:
        """Return the tensors of run i where training stands: "weight"; "imaginary", "gate" if it has them."""
        return self._tensors(i, "parameter")

    def best_weights(self, i: int) -> dict[str, np.ndarray]:
        """Return the parameters of run i at its best row (NaN without one)."""
        return self._tensors(i, "best")

    def _at(self, i: int, name: str) -> np.ndarray:
        program, t, m = self._place[i]
        return getattr(program, name)[t, m]

    def _rows(self, i: int) -> np.ndarray:
        program, t, m = self._place[i]
        logged = -(-program.position // self.runs[i].evaluate_every)
        return program.rows[t, m, :logged]

    def _tensors(self, i: int, name: str) -> dict[str, np.ndarray]:
        program, t, m = self._place[i]
        values = getattr(program, name)[t, :, m]
        ends = np.cumsum([group.count for group in program.groups])
        return {
            group.name: values[end - group.count : end].copy()
            for group, end in zip(program.groups, ends, strict=True)
        }

    def _is_finite(self, i: int) -> bool:
        return all(np.isfinite(tensor).all() for tensor in self.weights(i).values())
