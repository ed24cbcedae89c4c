"""Runs that differ only in seed, ranges and offsets, laid out as csrc/ensemble/program.h wants them."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mathkernels import _C
from mathkernels.data.arithmetic import OPERATIONS
from mathkernels.ensemble.describe import CRITERIA, NAU, NMRU, NMU, NPU, NRU, Adam, RealNPU, Run
from mathkernels.ensemble.initial import initial_parameters
from mathkernels.ensemble.sets import EvaluationSets
from mathkernels.ensemble.streams import by_input, constant_signs, distribution_kind, mapping

LANES: int = _C.tile_models
ROW_COLUMNS = ("valid", "test", "sparsity", "loss", "penalty")

_CELLS = (
    "nau",
    "nmu",
    "real_npu",
    "nru",
    "nmru",
    "nmru_unsigned",
    "nmru_gated",
    "nru_separate",
    "npu",
)
_PENALTIES = {"none": 0, "unit": 1, "ternary": 2, "signed-unit": 3, "absolute": 4}
_OPERATIONS = ("add", "sub", "mul", "div", "reciprocal", "squared", "root")
GENERATORS = {"hash": 0, "philox": 1}
DTYPES = {"float32": np.dtype(np.float32), "float64": np.dtype(np.float64)}
SIGN_MARGIN = 1e-6
# relative cost of one input of one model for one iteration
_COSTS = {"nau": 1, "nmu": 1, "nmru": 3, "nmru_unsigned": 3, "nmru_gated": 6, "real_npu": 4, "npu": 6}


class Group(NamedTuple):
    """One tensor of a module: its entries, their penalty and its strength, and where they are clamped to.

    ``mean``: the penalty is averaged over the entries, not summed. ``sparsity``: groups of one number count
    together in the sparsity error, which adds what 1 and 2 come to; 0 does not count.
    """

    name: str
    count: int
    penalty: str = "none"
    strength: float = 0.0
    clamp: tuple[float, float] | None = None
    sparsity: int = 0
    mean: bool = True


def layout(run: Run) -> tuple[str, tuple[Group, ...]]:
    """Return the compiled cell of a run and its tensors in the order of its parameters."""
    n, unit = run.task.inputs, (0.0, 1.0)
    match run.module:
        case NAU(penalty=strength):
            return "nau", (Group("weight", n, "ternary", strength, (-1.0, 1.0), 1),)
        case NMU(penalty=strength):
            return "nmu", (Group("weight", n, "unit", strength, unit, 1),)
        case NRU(penalty=strength, separate_signs=separate):
            cell = "nru_separate" if separate else "nru"
            return cell, (Group("weight", n, "ternary", strength, (-1.0, 1.0), 1),)
        case NMRU() as nmru:
            weight = Group("weight", 2 * n, "unit", nmru.penalty, unit, 1)
            if nmru.gated:
                return "nmru_gated", (weight, Group("gate", 2 * n, "unit", nmru.gate_penalty, unit))
            return "nmru" if nmru.sign_retrieval else "nmru_unsigned", (weight,)
        case RealNPU() | NPU() as npu:
            both = (-1.0, 1.0)
            weight = Group(
                "weight", n, npu.weight_target, npu.weight_penalty, both if "w" in npu.clip else None, 1
            )
            gate = Group("gate", n, "unit", npu.gate_penalty, unit if "g" in npu.clip else None)
            if isinstance(npu, RealNPU):
                return "real_npu", (weight, gate)
            clamp = both if "i" in npu.clip else None
            imaginary = Group("imaginary", n, "absolute", npu.imaginary_penalty, clamp, 2, mean=False)
            return "npu", (weight, imaginary, gate)
    raise TypeError(f"Run.module: got {run.module!r}, which has no compiled trainer")


def program_key(run: Run) -> Hashable:
    """Runs with equal keys can share a program."""
    task, signed = run.task, constant_signs(run.task, SIGN_MARGIN) is not None
    how = (run.optimizer, run.iterations, run.evaluate_every, run.batch, run.ramp, run.criterion)
    limit = (run.clip_norm, run.wide_norm)
    return (run.module, task.operation, task.inputs, signed, distribution_kind(task), *how, *limit)


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
        return _COSTS.get(self.cell, 8) * self.run.task.inputs

    def places(self) -> list[tuple[int, int, int]]:
        """Return (run index, tile, lane) of every run."""
        return [(index, t, m) for t, tile in enumerate(self.tiles) for m, index in enumerate(tile)]

    def advance_to(self, last: int) -> None:
        """Set the window [position, last) and its schedules; after the compiled call, ``position = last``."""
        t = np.arange(self.position, last)
        run = self.run
        ramp = run.ramp.over(t) if run.ramp else np.ones(len(t))
        each = [group.strength / (group.count if group.mean else 1) for group in self.groups]
        self._set("penalty", np.outer(each, ramp))
        norm = getattr(run.module, "norm", None)
        self._set("norm", norm.over(t) if norm else np.zeros(len(t)))
        if isinstance(run.optimizer, Adam):
            beta1, beta2 = run.optimizer.betas
            self._set("step", run.optimizer.lr / (1 - beta1 ** (t + 1.0)))
            self._set("correction", 1 / np.sqrt(1 - beta2 ** (t + 1.0)))
        else:
            self._set("step", np.full(len(t), run.optimizer.lr))
            self._set("correction", np.ones(len(t)))
        self.compiled.first, self.compiled.last = self.position, last

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays that a checkpoint holds; writing into them restores."""
        return {
            "parameter": self.parameter,
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "best": self.best,
            "best_valid": self.best_valid,
            "best_row": self.best_row,
            "rows": self.rows,
        }

    def _set(self, name: str, values: np.ndarray, dtype: Any = None) -> np.ndarray:
        """Give the compiled structure the address of an array and keep the array alive."""
        with np.errstate(over="ignore"):  # a step beyond float32 is infinite there, as it would be in torch
            array = np.ascontiguousarray(values, dtype=dtype or self.real)
        setattr(self, f"_{name}_array", array)
        setattr(self.compiled, name, array.ctypes.data)
        return array

    def _describe(self, dtype: str, generator: str) -> None:
        run, c = self.run, self.compiled
        self.cell, self.groups = layout(run)
        c.dtype, c.cell, c.generator = (
            list(DTYPES).index(dtype),
            _CELLS.index(self.cell),
            GENERATORS[generator],
        )
        c.inputs, c.parameters, c.batch = run.task.inputs, sum(g.count for g in self.groups), run.batch
        c.operation, c.criterion = _OPERATIONS.index(run.task.operation), CRITERIA.index(run.criterion)
        c.distribution = distribution_kind(run.task)
        c.evaluate_every, c.row_capacity, c.tiles = run.evaluate_every, run.rows, len(self.tiles)
        c.groups = len(self.groups)
        for index, group in enumerate(self.groups):
            compiled = c.group(index)
            compiled.penalty = _PENALTIES[group.penalty if group.strength else "none"]
            compiled.clamped, compiled.sparsity = int(group.clamp is not None), group.sparsity
            compiled.low, compiled.high = group.clamp or (0.0, 0.0)
        c.clip_norm, c.wide_norm = run.clip_norm or 0.0, int(run.wide_norm)
        c.epsilon = getattr(run.module, "epsilon", 0.0)
        norm = getattr(run.module, "norm", None)
        c.norm_order = norm.order if norm else 0
        if isinstance(run.optimizer, Adam):
            beta1, beta2 = run.optimizer.betas
            c.optimiser, c.decay1, c.beta2, c.decay2, c.eps = (
                0,
                1 - beta1,
                beta2,
                1 - beta2,
                run.optimizer.eps,
            )
        else:
            c.optimiser, c.momentum = 1, run.optimizer.momentum

    def _lay_out_tiles(self, runs: Sequence[Run]) -> None:
        tiles, inputs = len(self.tiles), self.run.task.inputs
        slots, slot = np.zeros(tiles, np.int32), np.zeros((tiles, LANES), np.int32)
        slot_seed = np.zeros((tiles, LANES), np.uint64)
        slot_anchor = np.zeros((tiles, LANES, inputs), np.uint32)
        scale, offset = (np.zeros((tiles, inputs, LANES)) for _ in range(2))
        negative = np.zeros((tiles, inputs, LANES))
        shape = np.zeros((tiles, LANES, inputs, _C.shape_numbers))
        subset = np.zeros((tiles, LANES, 4), np.int32)
        for t, tile in enumerate(self.tiles):
            streams: dict[Hashable, int] = {}
            for m, index in enumerate(tile):
                run = runs[index]
                maps = [mapping(part) for part in by_input(run.task.interpolation, inputs)]
                anchors = tuple(each.anchor for each in maps)
                shapes = tuple(each.shape for each in maps)
                slot[t, m] = streams.setdefault((run.seed, anchors, shapes), len(streams))
                slot_seed[t, slot[t, m]], slot_anchor[t, slot[t, m]] = run.seed, anchors
                shape[t, slot[t, m]] = shapes
                scale[t, :, m] = [each.scale for each in maps]
                offset[t, :, m] = [each.offset for each in maps]
                signs = constant_signs(run.task, SIGN_MARGIN)
                negative[t, :, m] = 0 if signs is None else signs
                first, *second = run.task.subsets(run.seed)
                other = second[0] if OPERATIONS[run.task.operation][0] == 2 else first
                subset[t, m] = first[0], len(first), other[0], len(other)
            slots[t] = len(streams)
        self.compiled.constant_signs = int(constant_signs(self.run.task, SIGN_MARGIN) is not None)
        self._set("models", np.array([len(tile) for tile in self.tiles]), np.int32)
        for name, array in {
            "slots": slots,
            "slot": slot,
            "slot_seed": slot_seed,
            "slot_anchor": slot_anchor,
        }.items():
            self._set(name, array, array.dtype)
        self._set("subset", subset, np.int32)
        for name, array in {
            "scale": scale,
            "offset": offset,
            "negative": negative,
            "slot_shape": shape,
        }.items():
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
        start = np.zeros((tiles, parameters, LANES))
        for index, t, m in self.places():
            start[t, :, m] = initial_parameters(runs[index])
        self.parameter = self._set("parameter", start)
        self.first_moment = self._set("first_moment", np.zeros_like(start))
        self.second_moment = self._set("second_moment", np.zeros_like(start))
        self.best = self._set("best", np.full_like(start, np.nan))
        self.best_valid = self._set("best_valid", np.full((tiles, LANES), np.inf), np.float64)
        self.best_row = self._set("best_row", np.full((tiles, LANES), -1), np.int32)
        shape = (tiles, LANES, self.run.rows, _C.row_columns)
        self.rows = self._set("rows", np.full(shape, np.nan), np.float64)


def build_programs(runs: Sequence[Run], dtype: str, generator: str) -> list[TrainingProgram]:
    """Group runs into programs, the costly ones first; the order depends on the runs alone."""
    groups: dict[Hashable, list[int]] = {}
    for index, run in enumerate(runs):
        groups.setdefault(program_key(run), []).append(index)
    sets = EvaluationSets()
    programs = [TrainingProgram(runs, indices, sets, dtype, generator) for indices in groups.values()]
    return sorted(programs, key=lambda program: -program.cost)
