"""mathkernels.ensemble as a participant: all models, or one alone."""

from __future__ import annotations

import numpy as np
from cases import SEEDS, Case
from module_cases import ModuleCase

from mathkernels import ensemble


class Ours:
    """Trains through the public call, evaluations every 1,000 iterations included."""

    def __init__(self, case: Case, threads: int, alone: bool = False) -> None:
        self.case, self.threads = case, threads
        self.chosen = slice(6 * SEEDS, 6 * SEEDS + 1) if alone else slice(None)
        self.models = 1 if alone else case.models

    def prove(self, iterations: int) -> np.ndarray:
        runs = self.case.runs(iterations)[self.chosen]
        results = ensemble.fit(runs, threads=self.threads)
        found = [np.concatenate(list(results.weights(i).values())) for i in range(len(runs))]
        everything = np.full((self.case.models, found[0].size), np.nan, np.float32)
        everything[self.chosen] = found
        parts = np.split(everything, found[0].size // self.case.inputs, axis=1)
        return np.concatenate([self.case.reordered(part) for part in parts], axis=1)

    def time(self, iterations: int) -> float:
        return ensemble.fit(self.case.runs(iterations)[self.chosen], threads=self.threads).seconds


class OursModules:
    """Any module of module_cases.py, through the same call."""

    def __init__(self, case: ModuleCase, threads: int) -> None:
        self.case, self.threads, self.models = case, threads, case.models

    def prove(self, iterations: int) -> np.ndarray:
        results = ensemble.fit(self.case.runs(iterations), threads=self.threads)
        return self.case.vectors([results.weights(i) for i in range(self.models)])

    def time(self, iterations: int) -> float:
        return ensemble.fit(self.case.runs(iterations), threads=self.threads).seconds
