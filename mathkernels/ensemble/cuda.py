"""Trains programs on a CUDA GPU: one warp per model; cells, random streams and order of sums are the CPU's.

The modules of docs/gpu.md have a trainer there; others train on the CPU. Results equal those of a CPU whose
instruction set fuses multiply and add, bit by bit where the GPU rounds as its specification says.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from mathkernels import backends
from mathkernels.data.distributions import Range, ranges_text
from mathkernels.ensemble.describe import NMU, RealNPU, Run
from mathkernels.ensemble.streams import KINDS, distribution_kind

if TYPE_CHECKING:
    from mathkernels.ensemble.program import TrainingProgram

TRAINED = (NMU, RealNPU)  # modules that have a GPU trainer
OTHERWISE = "or fit on the CPU (device='cpu')"


def compiled_module() -> ModuleType:
    """Import mathkernels._C_cuda and make sure that a GPU is there.

    Raises:
        RuntimeError: the module was not built, or there is no usable GPU or driver; with the remedy.
    """
    try:
        from mathkernels import _C_cuda  # pyright: ignore[reportAttributeAccessIssue]  (built where nvcc is)
    except ImportError as error:
        raise RuntimeError(
            f"device='cuda': mathkernels was built without its CUDA kernels ({error}); install the CUDA "
            f"toolkit (nvcc) and reinstall mathkernels with MATHKERNELS_CUDA=ON, {OTHERWISE}"
        ) from error
    if problem := _C_cuda.problem():
        raise RuntimeError(
            f"device='cuda': no usable CUDA device or driver ({problem}); it needs an NVIDIA GPU of compute "
            f"capability 8.0 or newer and a driver for CUDA {_C_cuda.toolkit}, {OTHERWISE}"
        )
    return _C_cuda


def check_runs(runs: Sequence[Run], dtype: str, max_inputs: int) -> None:
    """Raise ValueError unless the GPU trainer takes these runs, naming the first that it does not."""
    if dtype != "float32":
        raise ValueError(f"dtype: got {dtype!r}, device='cuda' needs 'float32', {OTHERWISE}")
    for index, run in enumerate(runs):
        if not isinstance(run.module, TRAINED):
            names = " or ".join(module.name for module in TRAINED)
            what = f"runs[{index}].module: got {run.module.name}"
            raise ValueError(f"{what}, device='cuda' needs {names}, {OTHERWISE}")
        if run.criterion != "mse":
            what = f"runs[{index}].criterion: got {run.criterion!r}"
            raise ValueError(f"{what}, device='cuda' needs 'mse', {OTHERWISE}")
        if run.restarts is not None:
            what = f"runs[{index}].restarts: got {run.restarts}"
            raise ValueError(f"{what}, device='cuda' needs None, {OTHERWISE}")
        if distribution_kind(run.task) != KINDS[Range]:
            what = f"runs[{index}].task.interpolation: got {ranges_text(run.task.interpolation)!r}"
            raise ValueError(f"{what}, device='cuda' needs uniform ranges, {OTHERWISE}")
        if run.task.inputs > max_inputs:
            what = f"runs[{index}].task.inputs: got {run.task.inputs}"
            raise ValueError(f"{what}, device='cuda' needs at most {max_inputs}, {OTHERWISE}")


class CudaTrainer:
    """Holds programs on the GPU. ``train`` does there what the compiled call of the CPU does.

    Args:
        runs: the runs of all programs.
        programs: float32 programs; their evaluation sets are copied here, once.

    Raises:
        RuntimeError: no usable GPU, or a CUDA call failed (out of memory, say).
        ValueError: a run that the GPU does not train.
    """

    def __init__(self, runs: Sequence[Run], programs: Sequence[TrainingProgram]) -> None:
        module = compiled_module()
        for program in programs:
            check_runs(runs, program.real.name, module.max_inputs)
        self._programs = list(programs)  # their arrays must outlive the compiled object
        self._compiled = module.Ensemble([program.compiled.address for program in programs])

    def train(self, active: Sequence[TrainingProgram]) -> None:
        """Train the windows set by ``advance_to``, then bring state and rows into the programs' arrays.

        Raises:
            RuntimeError: a CUDA call failed; the arrays then hold the state before the window.
        """
        self._compiled.train([self._programs.index(program) for program in active])
        backends.record("ensemble.fit", "cuda", "device='cuda'")
