"""What report_modules.py trains: every module and its notable options, and two layers, each as a case.

A case answers what rivals that know no module by name have to ask: the tensors with their initial values,
penalties and clamps (mathkernels.ensemble.tensors), the inputs of each iteration, and where a and b stand
among them. Inputs are numbered so that a's come first, because their place differs by seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from cases import BATCH, SEEDS

from mathkernels.ensemble import (
    GNALU,
    INALU,
    NAC,
    NALU,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    RANGES,
    Adam,
    Linear,
    Module,
    NACMul,
    Norm,
    RealNPU,
    Run,
    Stack,
    Task,
)
from mathkernels.ensemble.tensors import Layer, layers
from mathkernels.reference.ensemble import initial_parameters
from mathkernels.reference.random import uniforms


class Part(NamedTuple):
    """A layer of a case: what it is, and the names of its tensors in the case's parameters."""

    unit: Any
    layer: Layer
    names: tuple[str, ...]


@lru_cache(maxsize=20_000)
def _drawn(seed: int, t: int, inputs: int, interval: tuple[float, float]) -> np.ndarray:
    return uniforms(seed, t, BATCH, inputs, [interval] * inputs)


@dataclass(frozen=True)
class ModuleCase:
    """One module, or a stack of two, at one input size; E = ranges x seeds models.

    Attributes:
        name: as in the tables.
        module: description of the module.
        operation: "add", "mul" or "div".
        inputs: I.
        lr: of Adam.
        clip_norm: limit of each model's gradient norm, or None.
        ranges: interpolation ranges, keys of ``RANGES``.
        seeds: how many, from 0 on.
        subsets: what the task is told of the subsets.
    """

    name: str
    module: Module
    operation: str
    inputs: int = 2
    lr: float = 1e-3
    clip_norm: float | None = None
    ranges: tuple[str, ...] = tuple(RANGES)
    seeds: int = SEEDS
    subsets: dict[str, Any] = field(default_factory=dict, hash=False)

    def runs(self, iterations: int) -> list[Run]:
        """Return the E runs, by range, then seed, each of ``iterations`` updates."""
        return [
            Run(
                module=self.module,
                task=self._task(name),
                seed=seed,
                optimizer=Adam(lr=self.lr),
                iterations=iterations - 1,  # a run of T iterations makes T + 1 updates
                batch=BATCH,
                clip_norm=self.clip_norm,
            )
            for name in self.ranges
            for seed in range(self.seeds)
        ]

    def _task(self, name: str) -> Task:
        inside, outside = RANGES[name]
        return Task(
            operation=self.operation,
            inputs=self.inputs,
            interpolation=inside,
            extrapolation=outside,
            **self.subsets,
        )

    @property
    def models(self) -> int:
        return len(self.ranges) * self.seeds

    @property
    def vectors_shape(self) -> tuple[int, int]:
        """(E,P), P numbers for each model."""
        return self.models, sum(values[0].size for values in self.start.values())

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The one or two layers, from the inputs on."""
        found = layers(self.module, self.inputs)
        stacked = isinstance(self.module, Stack)
        units = (self.module.first, self.module.second) if isinstance(self.module, Stack) else (self.module,)
        prefixes = ("first.", "second.") if stacked else ("",)
        return tuple(
            Part(unit, layer, tuple(prefix + tensor.name for tensor in layer.tensors))
            for prefix, unit, layer in zip(prefixes, units, found, strict=True)
        )

    @property
    def norm(self) -> Norm | None:
        """The norm penalty; its weight does not change with time."""
        return getattr(self.module, "norm", None)

    @cached_property
    def spans(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """First input and size of a and of b, in the rivals' order."""
        a, b = self._task(self.ranges[0]).subsets(0)
        start = 0 if "spans" in self.subsets else a[0]
        return (a[0] - start, len(a)), (b[0] - start, len(b))

    @cached_property
    def _order(self) -> np.ndarray:
        """The inputs of each seed (seeds,I) in the rivals' order."""
        firsts = [self._task(self.ranges[0]).subsets(seed)[0][0] for seed in range(self.seeds)]
        offsets = np.zeros(self.seeds, int) if "spans" in self.subsets else np.array(firsts)
        return (offsets[:, None] + np.arange(self.inputs)) % self.inputs

    def _by_model(self, tensors: list[dict[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield name and values (E,O,columns) of each tensor, a column for an input in the rivals' order."""
        order = np.tile(self._order, (len(self.ranges), 1))[:, None]
        for number, part in enumerate(self.parts):
            for name, tensor in zip(part.names, part.layer.tensors, strict=True):
                values = np.stack([own[name].reshape(-1, tensor.columns) for own in tensors])
                if number == 0 and tensor.columns % self.inputs == 0:  # else a bias or gate of no input
                    blocks = np.split(values, tensor.columns // self.inputs, axis=2)
                    blocks = [np.take_along_axis(block, order[: len(tensors)], axis=2) for block in blocks]
                    values = np.concatenate(blocks, axis=2)
                yield name, values

    @cached_property
    def start(self) -> dict[str, np.ndarray]:
        """Initial tensors (E,O,columns) by name, float32, in the rivals' order."""
        drawn = [initial_parameters(run) for run in self.runs(1)]
        return dict(self._by_model([{name: p.numpy() for name, p in own.items()} for own in drawn]))

    def vectors(self, tensors: list[dict[str, np.ndarray]]) -> np.ndarray:
        """Return the parameters (E,P) of trained models, given in our order, in the rivals' order."""
        return np.concatenate([v.reshape(len(tensors), -1) for _, v in self._by_model(tensors)], axis=1)

    def inputs_at(self, t: int) -> np.ndarray:
        """Return the inputs (E,B,I) that our runs see in iteration t, in the rivals' order."""
        intervals = [RANGES[name][0].intervals[0] for name in self.ranges]
        return np.stack(
            [
                _drawn(seed, t, self.inputs, interval)[:, self._order[seed]]
                for interval in intervals
                for seed in range(self.seeds)
            ]
        )

    @cached_property
    def low(self) -> np.ndarray:
        """Lower bound of the inputs of each range (R), float32."""
        return np.array([RANGES[name][0].intervals[0][0] for name in self.ranges], np.float32)

    @cached_property
    def width(self) -> np.ndarray:
        """Width of each range (R), float32."""
        bounds = [RANGES[name][0].intervals[0] for name in self.ranges]
        return np.array([high - low for low, high in bounds], np.float32)


_NORM = Norm(start=1e-7, end=1e-7)
_MODULES = (
    ModuleCase("Linear", Linear(), "add"),
    ModuleCase("ReLU", Linear(activation="relu"), "add"),
    ModuleCase("ReLU6", Linear(activation="relu6"), "add"),
    ModuleCase("NAC", NAC(), "add"),
    ModuleCase("NAU", NAU(), "add"),
    ModuleCase("NACMul normal", NACMul(), "mul"),
    ModuleCase("NACMul sigma", NACMul(weights="sigma"), "mul"),
    ModuleCase("NACMul nmu", NACMul(weights="nmu"), "mul"),
    ModuleCase("NALU shared", NALU(), "mul"),
    ModuleCase("NALU separate", NALU(weights="separate"), "mul"),
    ModuleCase("NALU nau-nmu", NALU(weights="nau-nmu"), "mul"),
    ModuleCase("GNALU", GNALU(), "mul"),
    # without its penalty, which waits for iteration 10,000
    ModuleCase("INALU", INALU(penalty=0), "mul"),
    ModuleCase("NMU", NMU(), "mul"),
)
_DIVIDERS = (  # the division paper's; NMRUs are trained with a limit of the gradient norm there
    ModuleCase("RealNPU modified", replace(RealNPU.modified(), norm=_NORM), "div", lr=5e-3),
    ModuleCase("NPU modified", replace(NPU.modified(), norm=_NORM), "div", lr=5e-3),
    ModuleCase("NRU", NRU(), "div"),
    ModuleCase("NRU separate signs", NRU(separate_signs=True), "div"),
    ModuleCase("NMRU", NMRU(), "div", lr=1e-2, clip_norm=1.0),
    ModuleCase("NMRU unsigned", NMRU(sign_retrieval=False), "div", lr=1e-2, clip_norm=1.0),
    ModuleCase("NMRU gated", NMRU(gated=True), "div", lr=1e-2, clip_norm=1.0),
)
_PRODUCT = Stack(first=NAU(), second=NMU(), hidden=2)
SINGLE_LAYER = tuple(
    replace(case, name=f"{case.name}, {inputs}", inputs=inputs)
    for group, sizes in ((_MODULES, (2,)), (_DIVIDERS, (2, 10)))
    for inputs in sizes
    for case in group
)
TWO_LAYERS = (
    ModuleCase(
        "simple product, 4", _PRODUCT, "mul", inputs=4, subsets={"spans": ((0, 4), (0, 2))}
    ),  # (x1 + x2)(x1 + x2 + x3 + x4)
    ModuleCase(
        "product of sums, 100",
        _PRODUCT,
        "mul",
        inputs=100,
        ranges=("U[1,2]",),
        seeds=32,
        subsets={"subset_ratio": 0.25, "overlap_ratio": 0.5},
    ),
)
MODULE_CASES = {case.name: case for case in (*SINGLE_LAYER, *TWO_LAYERS)}
