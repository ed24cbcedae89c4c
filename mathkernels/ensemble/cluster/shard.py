"""A shard: some of the runs of a fit, which a worker process trains, perhaps on another machine.

A run's bits do not depend on its company, so it does not matter how the runs are cut or where a shard is
trained, as long as all machines round alike. That is checked in the worker.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from mathkernels import _C
from mathkernels.ensemble.checkpoint import Checkpoint
from mathkernels.ensemble.cluster.folder import Cut
from mathkernels.ensemble.describe import Run
from mathkernels.ensemble.program import build_programs, program_key
from mathkernels.ensemble.results import Record, records
from mathkernels.ensemble.run import How
from mathkernels.ensemble.tensors import starting_points
from mathkernels.ensemble.training import train_here


@dataclass(frozen=True)
class Shard:
    """What a worker is sent. ``call`` and ``attempt`` make it unlike all others, lest a result be reused."""

    number: int
    runs: tuple[Run, ...]
    how: How
    machine: dict[str, object]
    file: str | None
    stop: str
    call: str
    attempt: int = 0

    @property
    def work(self) -> int:
        """Model-iterations from the first to the last."""
        return sum(run.iterations + 1 for run in self.runs)


@dataclass(frozen=True)
class Outcome:
    """What a worker sends back: the records of the shard's runs, and whether it was stopped early."""

    records: Sequence[Record]
    stopped: bool


def machine(how: How, runs: Sequence[Run]) -> dict[str, object]:
    """Return what machines must agree in to give the same bits.

    Schedules, data sets and kernels are the same everywhere but for fused products. Initial weights are
    torch's, which rounds normal numbers differently on different processors, so a digest compares them.
    """
    first = {(run.module, run.task.inputs): run.seed for run in reversed(runs)}
    digest = hashlib.sha256()
    for (module, inputs), seed in first.items():
        digest.update(starting_points(module, inputs, seed, 1).tobytes())
    return {
        "fused": how.settings()["fused"],
        "version": _C.version,
        "initial weights": digest.hexdigest()[:12],
    }


def train_shard(shard: Shard) -> Outcome:
    """Train one shard in this process, from its checkpoint if there is one.

    Raises:
        ValueError: this machine would give other bits, or does not see the checkpoint folder.
    """
    here, host = machine(shard.how, shard.runs), socket.gethostname()
    if different := [key for key in here if here[key] != shard.machine[key]]:
        found = ", ".join(f"{key}={here[key]!r} instead of {shard.machine[key]!r}" for key in different)
        what = f"a worker on {host} has {found}, so its results would not be those of one machine"
        raise ValueError(f"executor: {what}; MATHKERNELS_ISA chooses the instruction set")
    if shard.file and not os.path.isdir(os.path.dirname(shard.file)):
        what = f"{os.path.dirname(shard.file)} is not seen by a worker on {host}; needs a shared file system"
        raise ValueError(f"checkpoint: {what}")
    _leave_interrupts_to_the_parent()
    results = train_here(shard.runs, shard.how, shard.file, stop=lambda: os.path.exists(shard.stop))
    return Outcome(results.records, results.interrupted)


def _leave_interrupts_to_the_parent() -> None:
    """In a pool's process, end no idle worker by Ctrl-C: the pool would break and end the busy ones."""
    if multiprocessing.parent_process() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def cut_runs(runs: Sequence[Run], shards: int) -> Cut:
    """Cut the runs into at most so many shards of nearly equal work, each in program and seed order.

    Neighbours then share a program and, seed by seed, their random draws.
    """
    first: dict[Hashable, int] = {}
    keys = [first.setdefault(program_key(run), index) for index, run in enumerate(runs)]
    order = sorted(range(len(runs)), key=lambda index: (keys[index], runs[index].seed, index))
    work = np.cumsum([(runs[index].iterations + 1) * runs[index].task.inputs for index in order])
    shards = min(shards, len(runs))
    bounds = np.searchsorted(work, work[-1] * np.arange(1, shards) / shards, side="left") + 1
    bounds = [0, *np.minimum(bounds, len(runs)).tolist(), len(runs)]
    return [order[low:high] for low, high in itertools.pairwise(bounds) if low < high]


def standing(shard: Shard) -> list[Record]:
    """Return where the runs of a shard stand: in its checkpoint if there is one, else at the start."""
    programs = build_programs(shard.runs, shard.how.dtype, shard.how.generator)
    if shard.file:
        Checkpoint(shard.file, shard.runs, shard.how.settings()).restore(programs)
    return records(programs)
