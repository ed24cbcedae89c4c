"""Runs that differ only in seed, ranges and offsets, laid out as csrc/trainers/nalm/program.h wants them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from mathkernels import _C
from mathkernels.data.arithmetic import OPERATIONS
from mathkernels.ensemble.describe import NMRU, Adam, Run, Stack
from mathkernels.ensemble.powers import one_less_powers
from mathkernels.ensemble.sets import EvaluationSets
from mathkernels.ensemble.streams import (
    avoided,
    by_input,
    constant_signs,
    distribution_kind,
    least_sum,
    mapping,
)
from mathkernels.ensemble.tensors import join, layers, split, starting_points

LANES: int = _C.tile_models
ROW_COLUMNS = ("valid", "test", "sparsity", "loss", "penalty")

_COST = {  # of one input of a cell, relative to that of a NAU
    "nau": 1,
    "nmu": 1,
    "real_npu": 4,
    "nru": 8,
    "nmru": 3,
    "nmru_unsigned": 3,
    "nmru_gated": 6,
    "nru_separate": 8,
    "npu": 6,
    "linear": 2,
    "relu": 2,
    "relu6": 2,
    "nac": 2,
    "nac_mul": 5,
    "nac_sigma": 5,
    "nac_nmu": 5,
    "nalu": 6,
    "nalu_separate": 6,
    "nalu_nau_nmu": 4,
    "gnalu": 6,
    "inalu": 7,
    "custom": 5,
}
GENERATORS: dict[str, int] = _C.generators
DTYPES = {"float32": np.dtype(np.float32), "float64": np.dtype(np.float64)}
SIGN_MARGIN = 1e-6


def program_key(run: Run) -> Hashable:
    """Runs with equal keys can share a program."""
    task, signed = run.task, _signs(run) is not None
    how = (run.optimizer, run.iterations, run.evaluate_every, run.batch, run.ramp, run.criterion)
    limit = (run.clip_norm, run.wide_norm, run.clip_value, run.restarts)
    return (run.module, task.operation, task.inputs, signed, distribution_kind(task), *how, *limit)


def divided_epsilon(run: Run) -> float:
    """Return what the first layer adds to its inputs, signs and all, before it divides by them; 0 if none."""
    first = run.module.first if isinstance(run.module, Stack) else run.module
    return first.epsilon if isinstance(first, NMRU) else 0.0


def _signs(run: Run) -> np.ndarray | None:
    return constant_signs(run.task, max(SIGN_MARGIN, divided_epsilon(run)))


def _tiles(runs: Sequence[Run], indices: Sequence[int]) -> list[list[int]]:
    """Split run indices into tiles of nearly equal size, seed by seed, because its runs share their draws.

    An even number of tiles keeps an even number of threads busy; what a tile holds changes no result.
    """
    ordered = sorted(indices, key=lambda index: runs[index].seed)
    count = -(-len(ordered) // LANES)
    count += count > 1 and count % 2
    bounds = [len(ordered) * k // count for k in range(count + 1)]
    return [ordered[low:high] for low, high in itertools.pairwise(bounds)]


class TrainingProgram:
    """State and layout of one program; ``advance_to`` moves its window, the compiled call does the rest.

    Args:
        runs: all runs of the fit.
        indices: those of this program; equal ``program_key``.
        sets: the evaluation sets, shared by all programs.
        dtype: "float32" or "float64".
        generator: "hash" or "philox".
    """

    def __init__(
        self, runs: Sequence[Run], indices: Sequence[int], sets: EvaluationSets, dtype: str, generator: str
    ) -> None:
        self.run = runs[indices[0]]  # stands for all in what they share
        self.tiles = _tiles(runs, indices)
        self.real = DTYPES[dtype]
        self.position = 0
        self._keep: list[Any] = []  # arrays whose addresses the compiled structure holds
        self.compiled = _C.Program()
        self._describe(dtype, generator)
        self._lay_out_tiles(runs)
        self._lay_out_sets(runs, sets)
        self._start(runs)

    @property
    def end(self) -> int:
        """The iteration at which the program is done."""
        return self.run.iterations + 1

    @property
    def models(self) -> int:
        return sum(len(tile) for tile in self.tiles)

    @property
    def cost(self) -> int:
        """Relative cost of one iteration of one tile, to start the longest work first."""
        sizes = (self.run.task.inputs, *(layer.outputs for layer in self.layers))
        each = zip(self.layers, sizes, strict=False)
        return sum(_COST[layer.cell] * layer.outputs * inputs for layer, inputs in each)

    def places(self) -> list[tuple[int, int, int]]:
        """Return (run index, tile, lane) of every run."""
        return [(index, t, m) for t, tile in enumerate(self.tiles) for m, index in enumerate(tile)]

    def advance_to(self, last: int) -> None:
        """Set the window [position, last) and its schedules; after the compiled call, ``position = last``."""
        t = np.arange(self.position, last)
        run = self.run
        ramp = run.ramp.over(t) if run.ramp else np.ones(len(t))
        each = [
            tensor.strength
            / (layer.outputs * tensor.columns if tensor.mean else 1)
            * (ramp if tensor.after is None else t > tensor.after)
            for layer in self.layers
            for tensor in layer.tensors
        ]
        self._set("penalty", np.stack(each))
        norm = getattr(run.module, "norm", None)
        self._set("norm", norm.over(t) if norm else np.zeros(len(t)))
        if isinstance(run.optimizer, Adam):
            beta1, beta2 = run.optimizer.betas
            self._set("step", run.optimizer.lr / one_less_powers(beta1, self.position, last))
            self._set("correction", 1 / np.sqrt(one_less_powers(beta2, self.position, last)))
        else:
            self._set("step", np.full(len(t), run.optimizer.lr))
            self._set("correction", np.ones(len(t)))
        self._set_cells()
        self.compiled.first, self.compiled.last = self.position, last

    def tensors(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return parameters (P,) of one model as copies by name; see :func:`split` for shapes."""
        return split(self.layers, values)

    def parameters(self, tensors: dict[str, np.ndarray]) -> np.ndarray:
        """Inverse of :meth:`tensors`."""
        return join(self.layers, tensors)

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays that a checkpoint holds; writing into them restores."""
        restarts = {"restarts": self.restarts, "window_row": self.window_row}
        return (restarts if self.run.restarts else {}) | {
            "parameter": self.parameter,
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "best": self.best,
            "best_valid": self.best_valid,
            "best_row": self.best_row,
            "rows": self.rows,
        }

    def bounds(self, position: int) -> dict[str, tuple[int, int]]:
        """Return between which numbers, both included, the whole numbers of a state at ``position`` lie."""
        logged = -(-position // self.run.evaluate_every)
        of_restarts = {"restarts": (0, self.compiled.restart_capacity), "window_row": (0, logged)}
        return (of_restarts if self.run.restarts else {}) | {"best_row": (-1, logged - 1)}

    def _set(self, name: str, values: np.ndarray, dtype: Any = None) -> np.ndarray:
        """Give the compiled structure the address of an array and keep the array alive."""
        with np.errstate(over="ignore"):  # a step beyond float32 is infinite there, as it would be in torch
            array = np.ascontiguousarray(values, dtype=dtype or self.real)
        setattr(self, f"_{name}_array", array)
        setattr(self.compiled, name, array.ctypes.data)
        return array

    def _set_cells(self) -> None:
        """Give the addresses of cells that are compiled apart; they belong to the instruction set in use."""
        inputs = (self.run.task.inputs, self.layers[0].outputs)
        for name, layer, n in zip(("custom", "second_custom"), self.layers, inputs, strict=False):
            if layer.custom is not None:
                setattr(self.compiled, name, layer.custom.cell(n, self.real))

    def _describe(self, dtype: str, generator: str) -> None:
        run, c = self.run, self.compiled
        self.layers = layers(run.module, run.task.inputs)
        self._set_cells()
        first, *second = self.layers
        c.dtype, c.generator = _C.dtypes[dtype], GENERATORS[generator]
        c.cell, c.epsilon = _C.cells[first.cell], first.epsilon
        if second:
            c.hidden, c.second, c.second_epsilon = (
                first.outputs,
                _C.cells[second[0].cell],
                second[0].epsilon,
            )
        c.inputs, c.batch = run.task.inputs, run.batch
        c.parameters = sum(layer.outputs * layer.unit_size for layer in self.layers)
        c.operation, c.criterion = _C.operations[run.task.operation], _C.criteria[run.criterion]
        c.distribution = distribution_kind(run.task)
        c.evaluate_every, c.row_capacity, c.tiles = run.evaluate_every, run.rows, len(self.tiles)
        tensors = [tensor for layer in self.layers for tensor in layer.tensors]
        c.groups = len(tensors)
        for index, tensor in enumerate(tensors):
            group = c.group(index)
            group.penalty = _C.penalties[(tensor.penalty if tensor.strength else "none").replace("-", "_")]
            group.clamped = int(tensor.clamp is not None)
            group.low, group.high = tensor.clamp or (0.0, 0.0)
            group.below = tensor.below or 0.0
        c.clip_norm, c.wide_norm = run.clip_norm or 0.0, int(run.wide_norm)
        c.clip_value = run.clip_value or 0.0
        if run.restarts:
            c.restart_window, c.restart_every = run.restarts.window, run.restarts.every
            c.restart_above = run.restarts.above
            c.restart_capacity = run.rows // (run.restarts.window + 1)
        norm = getattr(run.module, "norm", None)
        c.norm_order = norm.order if norm else 0
        if isinstance(run.optimizer, Adam):
            beta1, beta2 = run.optimizer.betas
            c.optimiser, c.decay1, c.beta2, c.decay2, c.eps = (
                _C.optimisers["adam"],
                1 - beta1,
                beta2,
                1 - beta2,
                run.optimizer.eps,
            )
        else:
            c.optimiser, c.momentum = _C.optimisers["sgd"], run.optimizer.momentum

    def _lay_out_tiles(self, runs: Sequence[Run]) -> None:
        tiles, inputs = len(self.tiles), self.run.task.inputs
        slots, slot = np.zeros(tiles, np.int32), np.zeros((tiles, LANES), np.int32)
        slot_seed = np.zeros((tiles, LANES), np.uint64)
        slot_anchor = np.zeros((tiles, LANES, inputs), np.uint32)
        scale, offset = (np.zeros((tiles, inputs, LANES)) for _ in range(2))
        negative = np.zeros((tiles, inputs, LANES))
        shape = np.zeros((tiles, LANES, inputs, _C.shape_numbers))
        avoid = np.full((tiles, LANES, inputs, _C.avoid_count), np.nan)
        subset, least = np.zeros((tiles, LANES, 4), np.int32), np.ones((tiles, LANES))
        for t, tile in enumerate(self.tiles):
            streams: dict[Hashable, int] = {}
            for m, index in enumerate(tile):
                run = runs[index]
                parts = by_input(run.task.interpolation, inputs)
                maps = [mapping(part, self.real) for part in parts]
                met = tuple(avoided(part, divided_epsilon(run), self.real) for part in parts)
                anchors, shapes = tuple(each.anchor for each in maps), tuple(each.shape for each in maps)
                slot[t, m] = k = streams.setdefault((run.seed, anchors, shapes, met), len(streams))
                slot_seed[t, k], slot_anchor[t, k] = run.seed, anchors
                shape[t, k, :, : len(shapes[0])] = shapes
                avoid[t, k] = [each or (np.nan,) * _C.avoid_count for each in met]
                scale[t, :, m] = [each.scale for each in maps]
                offset[t, :, m] = [each.offset for each in maps]
                least[t, m] = least_sum(parts, self.real)
                signs = _signs(run)
                negative[t, :, m] = 0 if signs is None else signs
                first, *second = run.task.subsets(run.seed)
                other = second[0] if OPERATIONS[run.task.operation][0] == 2 else first
                subset[t, m] = first[0], len(first), other[0], len(other)
            slots[t] = len(streams)
        self.compiled.constant_signs = int(_signs(self.run) is not None)
        self._set("models", np.array([len(tile) for tile in self.tiles]), np.int32)
        for name, array in {
            "slots": slots,
            "slot": slot,
            "slot_seed": slot_seed,
            "slot_anchor": slot_anchor,
            "slot_shape": shape,
            "subset": subset,
        }.items():
            self._set(name, array, array.dtype)
        if not np.isnan(avoid).all():
            self._set("slot_avoid", avoid)
        for name, array in {"scale": scale, "offset": offset, "negative": negative, "least": least}.items():
            self._set(name, array)

    def _lay_out_sets(self, runs: Sequence[Run], sets: EvaluationSets) -> None:
        names = ("valid_inputs", "valid_target", "test_inputs", "test_target")
        addresses = np.zeros((4, len(self.tiles), LANES), np.uint64)
        for index, t, m in self.places():
            pairs = [sets.get(runs[index], which, self.real) for which in ("validation", "test")]
            self._keep.extend(pairs)
            addresses[:, t, m] = [array.ctypes.data for pair in pairs for array in pair]
            self.compiled.valid_count, self.compiled.test_count = (len(pair[1]) for pair in pairs)
        for name, array in zip(names, addresses, strict=True):
            self._set(name, array, np.uint64)

    def _start(self, runs: Sequence[Run]) -> None:
        tiles, parameters = len(self.tiles), self.compiled.parameters
        count = 1 + self.compiled.restart_capacity
        starts = np.zeros((count, tiles, parameters, LANES))
        for index, t, m in self.places():
            run = runs[index]
            starts[:, t, :, m] = starting_points(run.module, run.task.inputs, run.seed, count)
        start = starts[0]
        self._set("restart_parameter", starts[1:].swapaxes(0, 1))
        self.restarts = self._set("restarts", np.zeros((tiles, LANES)), np.int32)
        self.window_row = self._set("window_row", np.zeros((tiles, LANES)), np.int32)
        self.parameter = self._set("parameter", start)
        self.first_moment = self._set("first_moment", np.zeros_like(start))
        self.second_moment = self._set("second_moment", np.zeros_like(start))
        self.best = self._set("best", np.full_like(start, np.nan))
        self.best_valid = self._set("best_valid", np.full((tiles, LANES), np.inf), np.float64)
        self.best_row = self._set("best_row", np.full((tiles, LANES), -1), np.int32)
        shape = (tiles, LANES, self.run.rows, _C.row_columns)
        self.rows = self._set("rows", np.full(shape, np.nan), np.float64)


def _check_memory(runs: Sequence[Run], groups: Iterable[Sequence[int]]) -> None:
    """Raise ValueError if the logged rows alone are more than this machine's memory."""
    tiles = ((-(-len(indices) // LANES), runs[indices[0]]) for indices in groups)
    needed = sum(count * LANES * run.rows * _C.row_columns * 8 for count, run in tiles)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else needed
    what = f"their logged rows take {needed / 1e9:,.0f} GB, this machine has {there / 1e9:,.0f}"
    if needed > there:
        raise ValueError(f"runs: {what}; needs a larger Run.evaluate_every, or fewer runs at once")


def build_programs(runs: Sequence[Run], dtype: str, generator: str) -> list[TrainingProgram]:
    """Group runs into programs, the costly ones first; the order depends on the runs alone."""
    groups: dict[Hashable, list[int]] = {}
    for index, run in enumerate(runs):
        groups.setdefault(program_key(run), []).append(index)
    _check_memory(runs, groups.values())
    sets = EvaluationSets()
    programs = [TrainingProgram(runs, indices, sets, dtype, generator) for indices in groups.values()]
    return sorted(programs, key=lambda program: -program.cost)
