"""What the ensemble benchmarks train: 225 models, 9 ranges x 25 seeds, in four cases.

Every participant trains the same models from the same initial weights: batches of 128 fresh samples, mean
squared error, discretisation penalties at full weight, Adam, clamps. Models are ordered by range, then seed.
With 10 inputs the operands' place differs by seed; as the inputs are alike, the rivals may number them so
that a and b come first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from mathkernels.ensemble import NMU, RANGES, Adam, RealNPU, Run, Task
from mathkernels.reference.ensemble import initial_parameters
from mathkernels.reference.random import uniforms

SEEDS = 25
BATCH = 128


@dataclass(frozen=True)
class Case:
    """One module at one input size.

    Attributes:
        name: as in the tables.
        module: description of the module.
        operation: "mul" or "div".
        inputs: I.
        lr: of Adam.
    """

    name: str
    module: NMU | RealNPU
    operation: str
    inputs: int
    lr: float

    def runs(self, iterations: int) -> list[Run]:
        """Return the 225 runs, each of ``iterations`` updates."""
        return [
            Run(
                module=self.module,
                task=Task(
                    operation=self.operation,
                    inputs=self.inputs,
                    interpolation=inside,
                    extrapolation=outside,
                ),
                seed=seed,
                optimizer=Adam(lr=self.lr),
                iterations=iterations - 1,  # a run of T iterations makes T + 1 updates
                batch=BATCH,
            )
            for inside, outside in RANGES.values()
            for seed in range(SEEDS)
        ]

    @cached_property
    def order(self) -> np.ndarray:
        """The inputs of each seed (25,I), a and b first."""
        firsts = [run.task.subsets(run.seed)[0][0] for run in self.runs(1)[:SEEDS]]
        return (np.array(firsts)[:, None] + np.arange(self.inputs)) % self.inputs

    def reordered(self, values: np.ndarray) -> np.ndarray:
        """Return values (E,I) or (9,25,B,I) with each model's inputs in the rivals' order."""
        by_seed = values.reshape(len(self.low), SEEDS, -1, self.inputs)
        return np.take_along_axis(by_seed, self.order[None, :, None], axis=3).reshape(values.shape)

    @cached_property
    def start(self) -> dict[str, np.ndarray]:
        """Initial "weight" (E,I), and "gate" (E,I) for the Real NPU, float32, in the rivals' order."""
        drawn = [initial_parameters(run) for run in self.runs(1)]
        return {
            name: self.reordered(np.stack([p[name].flatten().numpy() for p in drawn])) for name in drawn[0]
        }

    @cached_property
    def low(self) -> np.ndarray:
        """Lower bound of the inputs of each range (9), float32."""
        return np.array([inside.intervals[0][0] for inside, _ in RANGES.values()], np.float32)

    @cached_property
    def width(self) -> np.ndarray:
        """Width of each range (9), float32."""
        return np.array(
            [high - low for (low, high) in (r.intervals[0] for r, _ in RANGES.values())], np.float32
        )

    def inputs_at(self, t: int) -> np.ndarray:
        """Return the inputs (9,25,B,I) that our runs see in iteration t, in the rivals' order."""
        drawn = [
            uniforms(run.seed, t, run.batch, self.inputs, run.task.interpolation[0].intervals)
            for run in self.runs(1)
        ]
        return self.reordered(np.stack(drawn).reshape(-1, SEEDS, BATCH, self.inputs))

    @property
    def models(self) -> int:
        return len(self.low) * SEEDS


_NPU = replace(RealNPU.modified(), norm=replace(RealNPU().norm, start=1e-7, end=1e-7))
CASES = {
    case.name: case
    for case in (
        Case("NMU-2", NMU(), "mul", 2, 1e-3),
        Case("NMU-10", NMU(), "mul", 10, 1e-3),
        Case("RealNPU-2", _NPU, "div", 2, 5e-3),
        Case("RealNPU-10", _NPU, "div", 10, 5e-3),
    )
}


class Participant(Protocol):
    """One implementation of a case, with its own state and its own random numbers."""

    models: int

    def prove(self, iterations: int) -> np.ndarray:
        """Train from the start on ``case.inputs_at``; return (E,P), weights first, then gates."""
        ...

    def time(self, iterations: int) -> float:
        """Train that many iterations on fresh data and return the seconds."""
        ...
