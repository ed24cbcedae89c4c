"""Runs that differ only in seed, ranges and offsets, laid out as csrc/ensemble/program.h wants them."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from mathkernels import _C
from mathkernels.data.arithmetic import OPERATIONS
from mathkernels.ensemble.describe import NAU, NMRU, NMU, NRU, Adam, RealNPU, Run
from mathkernels.ensemble.initial import initial_parameters
from mathkernels.ensemble.sets import EvaluationSets
from mathkernels.ensemble.streams import by_input, constant_signs, mapping

LANES: int = _C.tile_models
ROW_COLUMNS = ("valid", "test", "sparsity", "loss", "penalty")

_CELLS = {"nau": 0, "nmu": 1, "real_npu": 2, "nru": 3, "nmru": 4, "nmru_unsigned": 5}
_PENALTIES = {"none": 0, "unit": 1, "ternary": 2, "signed-unit": 3}
_OPERATIONS = {
    name: index for index, name in enumerate(("add", "sub", "mul", "div", "reciprocal", "squared", "root"))
}
GENERATORS = {"hash": 0, "philox": 1}
DTYPES = {"float32": np.dtype(np.float32), "float64": np.dtype(np.float64)}
SIGN_MARGIN = 1e-6

# cell, weights, gates, penalty of a weight, its lambda, of a gate, its lambda, clamp of weights, of gates
_Layout = tuple[str, int, int, str, float, str, float, tuple[float, float] | None, bool]


def _layout(run: Run) -> _Layout:
    inputs = run.task.inputs
    match run.module:
        case NAU(penalty=strength):
            return "nau", inputs, 0, "ternary", strength, "none", 0.0, (-1.0, 1.0), False
        case NMU(penalty=strength):
            return "nmu", inputs, 0, "unit", strength, "none", 0.0, (0.0, 1.0), False
        case NRU(penalty=strength):
            return "nru", inputs, 0, "ternary", strength, "none", 0.0, (-1.0, 1.0), False
        case NMRU(penalty=strength, sign_retrieval=retrieval):
            cell = "nmru" if retrieval else "nmru_unsigned"
            return cell, 2 * inputs, 0, "unit", strength, "none", 0.0, (0.0, 1.0), False
        case RealNPU() as npu:
            clamp = (-1.0, 1.0) if "w" in npu.clip else None
            weight = "none" if npu.weight_penalty == 0 else npu.weight_target
            gate = "none" if npu.gate_penalty == 0 else "unit"
            strengths = (weight, npu.weight_penalty, gate, npu.gate_penalty)
            return "real_npu", inputs, inputs, *strengths, clamp, "g" in npu.clip
    raise TypeError(f"Run.module: got {run.module!r}, which has no compiled trainer")


def program_key(run: Run) -> Hashable:
    """Runs with equal keys can share a program."""
    task, signed = run.task, constant_signs(run.task, SIGN_MARGIN) is not None
    how = (run.optimizer, run.iterations, run.evaluate_every, run.batch, run.ramp, run.clip_norm)
    return (run.module, task.operation, task.inputs, signed, *how)


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
        weight = {"nau": 1, "nmu": 1, "real_npu": 4, "nru": 8, "nmru": 3, "nmru_unsigned": 3}
        return weight[self._layout[0]] * self.run.task.inputs

    def places(self) -> list[tuple[int, int, int]]:
        """Return (run index, tile, lane) of every run."""
        return [(index, t, m) for t, tile in enumerate(self.tiles) for m, index in enumerate(tile)]

    def advance_to(self, last: int) -> None:
        """Set the window [position, last) and its schedules; after the compiled call, ``position = last``."""
        t = np.arange(self.position, last)
        run, layout = self.run, self._layout
        ramp = run.ramp.over(t) if run.ramp else np.ones(len(t))
        self._set("weight_penalty", ramp * (layout[4] / layout[1]))
        self._set("gate_penalty", ramp * (layout[6] / max(layout[2], 1)))
        norm = run.module.norm if isinstance(run.module, RealNPU) else None
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
        self._layout = _layout(run)
        cell, weights, gates, weight_kind, _, gate_kind, _, clamp, clamp_gates = self._layout
        c.dtype, c.cell, c.generator = list(DTYPES).index(dtype), _CELLS[cell], GENERATORS[generator]
        c.inputs, c.weights, c.parameters, c.batch = run.task.inputs, weights, weights + gates, run.batch
        c.operation = _OPERATIONS[run.task.operation]
        c.evaluate_every, c.row_capacity, c.tiles = run.evaluate_every, run.rows, len(self.tiles)
        c.weight_penalty_kind, c.gate_penalty_kind = _PENALTIES[weight_kind], _PENALTIES[gate_kind]
        c.clamp_weights, c.clamp_gates = int(clamp is not None), int(clamp_gates)
        c.weight_low, c.weight_high = clamp or (0.0, 0.0)
        c.clip_norm = run.clip_norm or 0.0
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
        subset = np.zeros((tiles, LANES, 4), np.int32)
        for t, tile in enumerate(self.tiles):
            streams: dict[tuple[int, tuple[int, ...]], int] = {}
            for m, index in enumerate(tile):
                run = runs[index]
                maps = [mapping(part) for part in by_input(run.task.interpolation, inputs)]
                anchors = tuple(each.anchor for each in maps)
                slot[t, m] = streams.setdefault((run.seed, anchors), len(streams))
                slot_seed[t, slot[t, m]], slot_anchor[t, slot[t, m]] = run.seed, anchors
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
        for name, array in {"scale": scale, "offset": offset, "negative": negative}.items():
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
