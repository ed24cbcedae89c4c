"""Trainings that are killed again and again, at any moment and in their saves, and end as one left alone."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ensemble_cases import MODIFIED, run, task
from fuzzing.fits import state
from fuzzing.loader_files import adding_plan, equations_begun, plain, sequential_plan
from tqdm import tqdm

from mathkernels.ensemble import NMRU, NMU, Adam, fit, training
from mathkernels.experiment import configuration, loop
from mathkernels.experiment.checkpoint import Checkpoint
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.schedule import Row
from mathkernels.studies.adding import training as adding_training
from mathkernels.studies.sequential_mnist import training as sequential_training

SAVES = (
    "half written",
    "before it is flushed",
    "before it replaces the old",
    "after it has replaced the old",
)


class Engine(NamedTuple):
    """A training that goes on from what its folder holds, to its end, and what it leaves then."""

    name: str
    train: Callable[[Path], Any]


RUNS = [run(NMU(), task=task("mul"), seed=seed, iterations=130, evaluate_every=40) for seed in range(3)]
RUNS += [run(MODIFIED, seed=seed, iterations=90, evaluate_every=40) for seed in range(2)]
RUNS += [run(NMRU(), Adam(lr=0.05), seed=0, iterations=110, evaluate_every=30, ramp=None, clip_norm=1.0)]


def _fit(folder: Path) -> Any:
    training.CALL_SECONDS = training.CHECKPOINT_SECONDS = 0.0  # save after every iteration
    results = fit(RUNS, threads=1, checkpoint=folder / "fit.ckpt")
    return plain([state(results, i) for i in range(len(RUNS))])


def _without_seconds(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def _adding(folder: Path) -> Any:
    loop.SAVE_SECONDS = 0.0
    plan = adding_plan(epochs=4)
    done = adding_training.training(plan)
    loop.train(done, Checkpoint(RunFolder(folder).checkpoint, plan.describe()))
    return plain([_without_seconds(done.rows()), done.best, done.step])


def _equations(folder: Path) -> Any:
    loop.SAVE_SECONDS = 0.0
    config, done = equations_begun(epochs=25)
    loop.train(done, Checkpoint(RunFolder(folder).checkpoint, configuration.plain(config)))
    return plain([done.rows(), done.best])


def _sequential(folder: Path) -> Any:
    loop.SAVE_SECONDS = 0.0
    plan = sequential_plan(15, ("NMU", 1.0), ("NMU", 0.0))
    kept = RunFolder(folder)
    sequential_training.train(plan, kept)
    return [(kept.path / name).read_bytes() for name in ("runs.csv", "curves.csv", "summary.csv")]


ENGINES = (
    Engine("ensemble", _fit),
    Engine("adding problem", _adding),
    Engine("sequence to sequence (equations)", _equations),
    Engine("sequential MNIST", _sequential),
)


def measure(chains: int, kills: int, seed: int) -> list[dict[str, object]]:
    """Return for each engine how many trainings were killed how often, and how many ended with other bits.

    Args:
        chains: trainings of each engine that are killed at random moments, each up to ``kills`` times.
        seed: of the moments.
    """
    torch.set_num_threads(1)
    # its usual lock is shared with forked processes, and one that is killed may hold it for ever
    tqdm.set_lock(threading.RLock())
    tqdm.monitor_interval = 0  # no thread that could hold it during a fork
    return [_measure(engine, chains, kills, random.Random(f"{engine.name}:{seed}")) for engine in ENGINES]


def _measure(engine: Engine, chains: int, kills: int, draw: random.Random) -> dict[str, object]:
    counts = {"engine": engine.name, "trainings": 0, "kills": 0, "in a save": 0, "differ": 0}
    # a kill leaves what the system holds of a file, so a disk adds nothing but the time of its flushes
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        _quietly(engine, Path(folder) / "first")  # imports and caches
        begun = time.perf_counter()
        whole = _quietly(engine, Path(folder) / "whole")
        seconds = time.perf_counter() - begun
        for chain in range(chains):
            own = Path(folder) / f"random-{chain}"
            for _ in range(kills):
                counts["kills"] += _killed(engine, own, draw.uniform(0, 0.7 * seconds))
            counts["trainings"] += 1
            counts["differ"] += _quietly(engine, own) != whole
        for moment in SAVES:
            for chain in range(max(1, chains // 2)):
                own = Path(folder) / f"{moment}-{chain}"
                for _ in range(3):
                    done = _killed(engine, own, None, moment, draw.choice((1, 1, 2, 5)))
                    counts["kills"] += done
                    counts["in a save"] += done
                counts["trainings"] += 1
                counts["differ"] += _quietly(engine, own) != whole
    return dict(counts)


def _quietly(engine: Engine, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return engine.train(folder)


def _killed(engine: Engine, folder: Path, seconds: float | None, moment: str = "", count: int = 0) -> bool:
    """Train in a process of its own; kill it after some seconds, or let it die in a save."""
    process = multiprocessing.get_context("fork").Process(
        target=_train_and_die, args=(engine, folder, moment, count)
    )
    process.start()
    process.join(seconds if seconds is not None else 120.0)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _train_and_die(engine: Engine, folder: Path, moment: str, count: int) -> None:
    flush, replace = os.fsync, os.replace

    def half(descriptor: int) -> None:
        os.truncate(descriptor, os.fstat(descriptor).st_size // 2)
        _die()

    def replace_and_die(one: Any, other: Any) -> None:
        replace(one, other)
        _die()

    if moment == "half written":
        os.fsync = _counted(count, flush, half)
    elif moment == "before it is flushed":
        os.fsync = _counted(count, flush, _die)
    elif moment == "before it replaces the old":
        os.replace = _counted(count, replace, _die)
    elif moment == "after it has replaced the old":
        os.replace = _counted(count, replace, replace_and_die)
    _quietly(engine, folder)


def _counted(count: int, function: Callable[..., Any], then: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with ``then`` in the place of its count-th call."""
    calls = 0

    def replaced(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        return (then if calls == count else function)(*arguments, **named)

    return replaced
