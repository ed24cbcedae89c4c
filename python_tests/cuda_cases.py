"""Programs that the tests of the CUDA trainer run on CPU, emulator and GPU, and the emulator's build.

As a script it starts to train some cases in an emulator library, for tools that need a process of their own:
    python cuda_cases.py LIBRARY CASE...
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mathkernels import _C, backends
from mathkernels.data.arithmetic import Range, Task
from mathkernels.ensemble.describe import NMU, SGD, Adam, Norm, Ramp, RealNPU, Run
from mathkernels.ensemble.program import TrainingProgram, build_programs

SOURCE = Path(__file__).parents[1] / "csrc"
WINDOWS = (37, 101)  # two calls, so that a window starts in the middle


def _task(operation: str, inputs: int, low: str, high: str) -> Task:
    interpolation, extrapolation = (Range.parse(low),), (Range.parse(high),)
    ratio = None if inputs == 2 else 1 / inputs
    return Task(
        interpolation=interpolation,
        extrapolation=extrapolation,
        operation=operation,
        inputs=inputs,
        subset_ratio=ratio,
    )


_both_signs, _negative = ("U[-2,2]", "U[2,6]"), ("U[-2,-1]", "U[-6,-2]")
_npu = RealNPU(
    clip="g",
    weight_penalty=1.0,
    weight_target="ternary",
    gate_penalty=1.0,
    norm=Norm(order=2, start=1e-3, end=1e-3),
)
# name: module, task, what else a run has. 2 and 10 inputs have kernels of their own, 3 take the general one.
CASES = {
    "nmu 2": (NMU(), _task("mul", 2, *_both_signs), {}),
    "nmu 2, an end near 0": (NMU(), _task("mul", 2, "U[1e-9,1]", "U[1,2]"), {}),
    "nmu 10": (NMU(), _task("mul", 10, "U[0.5,1.5]", "U[1,2]"), {"clip_norm": 0.1}),
    "nmu 3": (NMU(), _task("add", 3, *_negative), {"batch": 544, "optimizer": SGD(lr=1e-4, momentum=0.9)}),
    "real_npu 2, mixed signs": (RealNPU.modified(), _task("div", 2, *_both_signs), {}),
    "real_npu 2, constant signs": (_npu, _task("div", 2, *_negative), {}),
    "real_npu 10, mixed signs": (RealNPU.modified(), _task("div", 10, *_both_signs), {"clip_norm": 1.0}),
    "real_npu 10, constant signs": (RealNPU(), _task("div", 10, *_negative), {}),
    "real_npu 3, mixed signs": (RealNPU(), _task("reciprocal", 3, *_both_signs), {"clip_value": 0.05}),
    "real_npu 3, constant signs": (RealNPU(), _task("mul", 3, *_negative), {}),
}


def programs(case: str, generator: str = "hash", seeds: Iterable[int] = range(3)) -> list[TrainingProgram]:
    """One program of a few models that has not started."""
    module, task, extra = CASES[case]
    settings = {"optimizer": Adam(lr=2e-3), "ramp": Ramp(start=20, end=80)} | extra
    runs = [
        Run(module=module, task=task, seed=seed, iterations=WINDOWS[-1] - 1, evaluate_every=25, **settings)
        for seed in seeds
    ]
    return build_programs(runs, "float32", generator)


def train_on_cpu(trained: Sequence[TrainingProgram]) -> None:
    size = -(-max(_C.program_scratch_bytes(program.compiled) for program in trained) // 64) * 64
    scratch = np.empty(size + 64, np.uint8)
    for last in WINDOWS:
        for program in trained:
            program.advance_to(last)
        _C.train([program.compiled for program in trained], -(-scratch.ctypes.data // 64) * 64, size, 1)
        for program in trained:
            program.position = last


class EmulatorError(Exception):
    """The emulator found that a kernel breaks the rules of the machine."""


class Emulator:
    """A compiled emulator; see csrc/emulator."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.emulate.restype = ctypes.c_char_p
        self.library.emulate.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint]
        self.library.program_bytes.restype = ctypes.c_int64

    def train(
        self,
        trained: Sequence[TrainingProgram],
        block_threads: int = 32,
        order: int = 0,
        windows: tuple[int, ...] = WINDOWS,
    ) -> None:
        for last in windows:
            for program in trained:
                program.advance_to(last)
                problem = self.library.emulate(program.compiled.address, block_threads, order)
                if problem is not None:
                    raise EmulatorError(problem.decode())
                program.position = last


LIBRARY = "emulator.so"


def build(folder: Path, *flags: str, source: Path = SOURCE) -> Path:
    """Compile the emulator and the CUDA kernels with the C++ compiler into one library in ``folder``."""
    library = folder / LIBRARY
    arch = ["-march=x86-64-v3"] if "v3" in backends.available() else []
    fixed = ["-std=c++17", "-ffp-contract=off", "-fPIC", "-shared", "-DMK_EMULATOR", "-DMK_ISA=emulated"]
    files = [str(source / "emulator" / name) for name in ("emulator.cpp", "ensemble.cpp")]
    command = ["g++", *fixed, *arch, *flags, f"-I{source}", *files, "-o", str(library)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library


PER_PARAMETER = (
    "parameter",
    "first_moment",
    "second_moment",
    "best",
)  # (tiles, P, 16); the rest (tiles, 16, ...)


def results(trained: Sequence[TrainingProgram]) -> dict[str, np.ndarray]:
    """State and rows of every model, without what lies behind the last model of a tile."""
    return {
        name: np.stack(
            [
                program.state()[name][(tile, slice(None), lane) if name in PER_PARAMETER else (tile, lane)]
                for program in trained
                for _, tile, lane in program.places()
            ]
        )
        for name in trained[0].state()
    }


if __name__ == "__main__":
    for name in sys.argv[2:]:
        Emulator(Path(sys.argv[1])).train(programs(name, seeds=range(1)), windows=(3, 26))
