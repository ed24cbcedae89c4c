"""Train runs to the end, many iterations per compiled call."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mathkernels import _C, backends
from mathkernels.ensemble import checks
from mathkernels.ensemble.checkpoint import Checkpoint
from mathkernels.ensemble.cuda import CudaTrainer
from mathkernels.ensemble.describe import Run
from mathkernels.ensemble.program import DTYPES, GENERATORS, TrainingProgram, build_programs
from mathkernels.ensemble.results import Results, records

# A compiled call lasts about this long: short for a progress bar and Ctrl-C, long enough to cost nothing.
CALL_SECONDS = 0.25
# A call makes at most so many iterations: the schedules of a longer one would leave the cache.
CALL_ITERATIONS = 50_000
CHECKPOINT_SECONDS = 5.0

Trainer = Callable[[Sequence[TrainingProgram]], None]  # trains the windows set by ``advance_to``


@dataclass(frozen=True)
class Progress:
    """Where a fit stands: model-iterations done and to do, runs finished and in all, seconds of wall time."""

    done_iterations: int
    total_iterations: int
    finished_runs: int
    total_runs: int
    seconds: float


@dataclass(frozen=True)
class How:
    """How to train, whatever the runs are; see :func:`fit`."""

    threads: int | None
    dtype: str
    generator: str
    device: str

    def settings(self) -> dict[str, Any]:
        """Return what the bits of a fit on this machine depend on besides its runs."""
        fused = self.device == "cuda" or backends.fused()
        return {"dtype": self.dtype, "generator": self.generator, "fused": fused}


def fit(
    runs: Sequence[Run],
    *,
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    dtype: str = "float32",
    generator: str = "hash",
    device: str = "cpu",
    executor: Any = None,
    shards: int | None = None,
) -> Results:
    """Train every run to its last iteration inside compiled calls and return the results.

    A run's result is bitwise the same alone or among others, with any number of threads, after a resume, and
    on any number of machines. It does depend on the dtype, the generator, and on whether the instruction set
    fuses multiply and add (v3, v4 and NEON do).

    Args:
        runs: what to train, at least one.
        threads: worker threads; None takes torch.get_num_threads().
        checkpoint: file to resume from if it exists; written every few seconds, on Ctrl-C and at the end.
            A write that fails later (a full disk, say) is a warning: training goes on.
        progress: called after every compiled call, about four times a second, or every 50,000 iterations.
        dtype: "float32", as the papers, or "float64".
        generator: "hash" or "philox" (slower, by a published design); see docs/random.md.
        device: "cpu", or "cuda" for the modules that have a trainer there; see docs/gpu.md.
        executor: None, or where to train the runs in shards: anything with ``submit(function, argument)``
            that returns futures with ``done``, ``result`` and ``cancel``; see docs/cluster.md. Then
            ``threads`` counts per worker, ``checkpoint`` is a folder that all workers see, made if it is
            absent, and ``progress`` is called after every shard.
        shards: how many; None takes four per worker of the executor, or those of the checkpoint folder.

    Returns:
        The results. After Ctrl-C those so far, with ``interrupted`` set; a second raises KeyboardInterrupt.
        Where the program ignores SIGINT or has a handler of its own, that stays in force and nothing is
        interrupted.

    Raises:
        ValueError, TypeError: an argument is not as above, or the checkpoint belongs to something else.
        RuntimeError: device="cuda" without a usable GPU; the message names the remedy.
        LostWorkersError: workers were lost again and again, or all at once.
    """
    runs = check_runs(runs, threads, dtype, generator)
    check_progress(progress)
    checks.choice("device", device, ("cpu", "cuda"))
    how = How(checks.valid_threads(threads), dtype, generator, device)
    if executor is not None:
        from mathkernels.ensemble import sharding  # it trains its shards with this module

        return sharding.fit_shards(runs, how, executor, shards, checkpoint, progress)
    if shards is not None:
        raise ValueError(f"shards: got {checks.shown(shards)}, needs an executor to train them")
    return train_here(runs, how, checkpoint, progress)


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


def check_progress(progress: object) -> None:
    """Raise TypeError unless this is something to call, or None."""
    if progress is not None and not callable(progress):
        raise TypeError(f"progress: got {progress!r}, needs a function of one argument or None")


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


@contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a set event, so that no state is left half-advanced; the second raises.

    A program that ignores SIGINT or handles it itself goes on to do so: then nothing is changed here.
    """
    interrupted = threading.Event()
    main = threading.current_thread() is threading.main_thread()  # signals arrive there only
    previous = signal.getsignal(signal.SIGINT)
    if not main or previous is not signal.default_int_handler:
        yield interrupted
        return

    def note(number: int, frame: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
