"""Train runs to the end in this process, many iterations per compiled call."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from mathkernels import _C, backends
from mathkernels.ensemble import checks
from mathkernels.ensemble.checkpoint import Checkpoint
from mathkernels.ensemble.cuda import CudaTrainer
from mathkernels.ensemble.describe import Run
from mathkernels.ensemble.program import DTYPES, GENERATORS, TrainingProgram, build_programs
from mathkernels.ensemble.results import Results, records
from mathkernels.ensemble.run import CALL_SECONDS, How, Progress, deferred_interrupt

# A call makes at most so many iterations: the schedules of a longer one would leave the cache.
CALL_ITERATIONS = 50_000
CHECKPOINT_SECONDS = 5.0

Trainer = Callable[[Sequence[TrainingProgram]], None]  # trains the windows set by ``advance_to``


def train_here(
    runs: Sequence[Run],
    how: How,
    checkpoint: str | os.PathLike[str] | None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Results:
    """Train checked runs in this process, as :func:`fit` does; ``stop`` is asked between compiled calls."""
    programs = build_programs(runs, how.dtype, how.generator)
    on_gpu = how.device == "cuda"
    train = CudaTrainer(runs, programs).train if on_gpu else _cpu_trainer(programs, how.threads)
    file = Checkpoint(checkpoint, runs, how.settings()) if checkpoint is not None else None
    before = file.restore(programs) if file else 0.0
    start = saved = time.perf_counter()
    written = True

    def seconds() -> float:
        return before + time.perf_counter() - start

    with deferred_interrupt() as interrupted:
        for _ in _calls(programs, train):
            if progress:
                progress(_progress(programs, seconds()))
            if stop():
                interrupted.set()
            if interrupted.is_set():
                break
            if file and time.perf_counter() - saved > CHECKPOINT_SECONDS:
                written = _save(file, programs, seconds(), quiet=not written)
                saved = time.perf_counter()
        spent = seconds()
        if file:
            _save(file, programs, spent)
    return Results(runs, records(programs), spent, interrupted.is_set())


def _save(file: Checkpoint, programs: Sequence[TrainingProgram], seconds: float, quiet: bool = False) -> bool:
    """Write the checkpoint and return whether that worked; a full disk must not cost what is in memory."""
    try:
        file.save(programs, seconds)
    except OSError as error:
        if not quiet:
            what = f"checkpoint: {file.path} could not be written ({error}); the fit goes on"
            warnings.warn(what, stacklevel=3)
        return False
    return True


def check_runs(
    runs: Sequence[Run], threads: int | None = None, dtype: str = "float32", generator: str = "hash"
) -> tuple[Run, ...]:
    """Return the runs as a tuple, or raise the error of an argument of :func:`fit` that is wrong."""
    if not isinstance(runs, Sequence) or isinstance(runs, str):
        raise TypeError(f"runs: got {type(runs).__name__}, needs a sequence of Run")
    if not runs:
        raise ValueError("runs: got none, needs at least one Run")
    for i, run in enumerate(runs):
        if not isinstance(run, Run):
            raise TypeError(f"runs[{i}]: got {run!r}, needs a Run")
        if run.task.inputs > _C.max_inputs:
            raise ValueError(f"runs[{i}].task.inputs: got {run.task.inputs}, needs at most {_C.max_inputs}")
    checks.valid_threads(threads)
    checks.choice("dtype", dtype, tuple(DTYPES))
    checks.choice("generator", generator, tuple(GENERATORS))
    return tuple(runs)


def evaluate(
    runs: Sequence[Run],
    parameters: Sequence[dict[str, np.ndarray]],
    *,
    threads: int | None = None,
    dtype: str = "float32",
) -> Results:
    """Measure given parameters on the runs' fixed sets, by the compiled evaluation of :func:`fit`.

    Args:
        runs: what the parameters belong to; optimiser, schedules and iterations do not matter.
        parameters: per run "weight" ((I,), or (2I,) for NMRU), and "imaginary" and "gate" where the module
            has them, in the names and shapes of :meth:`Results.weights`.
        threads, dtype: as in :func:`fit`.

    Returns:
        Results with one row per run, logged at iteration 0.

    Raises:
        ValueError, TypeError: an argument is not as above.
    """
    runs = tuple(replace(run, iterations=0, restarts=None) for run in check_runs(runs, threads, dtype))
    if len(parameters) != len(runs):
        raise ValueError(f"parameters: got {len(parameters)}, needs one for each of {len(runs)} runs")
    programs = build_programs(runs, dtype, "hash")
    for program in programs:
        for index, t, m in program.places():
            needed = {name: part.shape for name, part in program.tensors(program.parameter[t, :, m]).items()}
            if not isinstance(parameters[index], dict):
                raise TypeError(f"parameters[{index}]: got {parameters[index]!r}, needs a dict of {needed}")
            given = {name: np.shape(values) for name, values in parameters[index].items()}
            if given != needed:
                raise ValueError(f"parameters[{index}]: got shapes {given}, needs {needed}")
            program.parameter[t, :, m] = program.parameters(parameters[index])
    start = time.perf_counter()
    for _ in _calls(programs, _cpu_trainer(programs, threads)):
        pass
    return Results(runs, records(programs), time.perf_counter() - start, False)


def _cpu_trainer(programs: Sequence[TrainingProgram], threads: int | None) -> Trainer:
    """Return the compiled call with its working memory, aligned and apart for every thread."""
    workers = checks.valid_threads(threads) or torch.get_num_threads()
    each = max(_C.program_scratch_bytes(program.compiled) for program in programs)
    each = -(-each // 64) * 64
    memory = np.empty(each * workers + 64, np.uint8)

    def train(active: Sequence[TrainingProgram]) -> None:
        aligned = -(-memory.ctypes.data // 64) * 64
        _C.train([program.compiled for program in active], aligned, each, workers)
        backends.record("ensemble.fit")

    return train


def _calls(programs: Sequence[TrainingProgram], train: Trainer) -> Iterator[None]:
    """Advance all programs to the end, one call of ``train`` per step; only the clock decides its length."""
    window = 20
    while True:
        active = [program for program in programs if program.position < program.end]
        if not active:
            return
        started = time.perf_counter()
        for program in active:
            program.advance_to(min(program.position + window, program.end))
        train(active)
        for program in active:
            program.position = program.compiled.last
        pace = CALL_SECONDS / max(time.perf_counter() - started, 1e-6)
        window = min(max(1, int(window * min(pace, 8.0))), CALL_ITERATIONS)
        yield


def _progress(programs: Sequence[TrainingProgram], seconds: float) -> Progress:
    return Progress(
        done_iterations=sum(program.position * program.models for program in programs),
        total_iterations=sum(program.end * program.models for program in programs),
        finished_runs=sum(program.models for program in programs if program.position == program.end),
        total_runs=sum(program.models for program in programs),
        seconds=seconds,
    )
