"""What training gives back: the logged rows, the selected row of each run, its success, its weights."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mathkernels.ensemble.describe import Run
from mathkernels.ensemble.program import ROW_COLUMNS, TrainingProgram


@dataclass(frozen=True)
class Record:
    """What training leaves of one run, in plain arrays that can be sent from machine to machine.

    Attributes:
        position: iterations done.
        rows: (R, 5) float64, the logged rows in the columns of ``ROW_COLUMNS``.
        best_row: row of the lowest validation MSE, -1 if there is none.
        weights, best_weights: parameters by name, where training stands and at the best row.
        restarts: how often the run started anew.
    """

    position: int
    rows: np.ndarray
    best_row: int
    weights: dict[str, np.ndarray]
    best_weights: dict[str, np.ndarray]
    restarts: int = 0


def records(programs: Sequence[TrainingProgram]) -> list[Record]:
    """Return the record of every run of the programs, in the order of the runs."""
    found = {
        index: _record(program, t, m, -(-program.position // program.run.evaluate_every))
        for program in programs
        for index, t, m in program.places()
    }
    return [found[index] for index in range(len(found))]


def _record(program: TrainingProgram, t: int, m: int, logged: int) -> Record:
    return Record(
        position=program.position,
        rows=program.rows[t, m, :logged].copy(),
        best_row=int(program.best_row[t, m]),
        weights=program.tensors(program.parameter[t, :, m]),
        best_weights=program.tensors(program.best[t, :, m]),
        restarts=int(program.restarts[t, m]),
    )


class Results:
    """The outcome of a fit, finished or interrupted; N runs, R logged rows each. It can be pickled.

    Attributes:
        runs: the N descriptions, in the order they were given.
        best_row: (N,) int, row of the lowest validation MSE (first on ties, NaN never), -1 if there is none.
        valid, test, sparsity: (N,) float64, MSEs and sparsity error at the best row, NaN without one.
        solved: (N,) bool, test MSE at the best row below the run's threshold.
        solved_at: (N,) float64, first logged iteration with a test MSE below the threshold, NaN if none.
        finished: (N,) bool.
        diverged: (N,) bool, a parameter is NaN or infinite where training stands.
        non_finite: (N,) bool, the same, or so is a number of the last logged row: the run ends in NaN or
            infinity, and its best row is of before.
        non_finite_at: (N,) float, logged iteration since which no row of such a run is finite, or its last
            iteration if only parameters are not; NaN for other runs.
        restarts: (N,) int, how often each run started anew.
        seconds: wall time of this fit and, after a resume, of the fits before it.
        interrupted: whether the fit was stopped by Ctrl-C.
        records: what the rest is derived from, one per run.
    """

    def __init__(
        self, runs: Sequence[Run], records: Sequence[Record], seconds: float, interrupted: bool
    ) -> None:
        self.runs = tuple(runs)
        self.seconds = seconds
        self.interrupted = interrupted
        self.records = tuple(records)
        count = len(self.runs)
        if len(self.records) != count:
            raise ValueError(f"records: got {len(self.records)}, needs one for each of {count} runs")
        self.best_row = np.array([record.best_row for record in self.records], dtype=np.int64)
        self.restarts = np.array([record.restarts for record in self.records], dtype=np.int64)
        ends = [run.iterations + 1 for run in self.runs]
        self.finished = np.array([record.position for record in self.records]) == np.array(ends)
        self.diverged = np.array([not self._is_finite(i) for i in range(count)], dtype=bool)
        self.non_finite_at = np.array([self._non_finite_since(i) for i in range(count)], dtype=np.float64)
        self.non_finite = ~np.isnan(self.non_finite_at)
        chosen = np.full((count, len(ROW_COLUMNS)), np.nan)
        self.solved_at = np.full(count, np.nan)
        for i, (run, record) in enumerate(zip(self.runs, self.records, strict=True)):
            if record.best_row >= 0:
                chosen[i] = record.rows[record.best_row]
            solved = np.flatnonzero(record.rows[:, ROW_COLUMNS.index("test")] < run.threshold)
            if len(solved):
                self.solved_at[i] = self.steps(i)[solved[0]]
        self.valid, self.test, self.sparsity = (
            chosen[:, ROW_COLUMNS.index(name)] for name in ("valid", "test", "sparsity")
        )
        self.solved = self.test < np.array([run.threshold for run in self.runs])

    def steps(self, i: int) -> np.ndarray:
        """Return the iterations (R,) at which run i has logged a row; raises as :meth:`weights`."""
        self._check(i)
        return np.arange(len(self.records[i].rows)) * self.runs[i].evaluate_every

    def curves(self, i: int) -> dict[str, np.ndarray]:
        """Return the logged rows of run i, each (R,): valid, test, sparsity, loss (of the batch), penalty.

        Raises:
            IndexError: there is no run i.
        """
        self._check(i)
        return {name: self.records[i].rows[:, column] for column, name in enumerate(ROW_COLUMNS)}

    def weights(self, i: int) -> dict[str, np.ndarray]:
        """Return the tensors of run i where training stands: "weight"; "imaginary", "gate" if it has them.

        Raises:
            IndexError: there is no run i.
        """
        self._check(i)
        return {name: values.copy() for name, values in self.records[i].weights.items()}

    def best_weights(self, i: int) -> dict[str, np.ndarray]:
        """Return the parameters of run i at its best row (NaN without one); raises as :meth:`weights`."""
        self._check(i)
        return {name: values.copy() for name, values in self.records[i].best_weights.items()}

    def _check(self, i: int) -> None:
        count = len(self.runs)
        try:
            fits = -count <= operator.index(i) < count
        except TypeError:
            raise TypeError(f"i: got {i!r}, needs the index of a run, an integer") from None
        if not fits:
            raise IndexError(f"i: got {i}, needs the index of one of {count} runs, {-count} to {count - 1}")

    def _non_finite_since(self, i: int) -> float:
        finite = np.flatnonzero(np.isfinite(self.records[i].rows).all(axis=1))
        rows, following = len(self.records[i].rows), int(finite[-1]) + 1 if len(finite) else 0
        if following < rows:
            return float(self.steps(i)[following])
        return float(max(self.records[i].position - 1, 0)) if self.diverged[i] else np.nan

    def _is_finite(self, i: int) -> bool:
        return all(np.isfinite(values).all() for values in self.records[i].weights.values())
