"""Runs for executors, and what worker processes of the tests do; importable there, so no test lives here."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from ensemble_cases import MODIFIED, run, task

from mathkernels.ensemble import NMRU, NMU, Adam, Results, training
from mathkernels.ensemble.checkpoint import Checkpoint

# Three programs of different length, seeds out of order; some run ends where no row is logged.
RUNS = [run(NMU(), task=task("mul"), seed=seed, iterations=130, evaluate_every=40) for seed in (2, 0, 1)]
RUNS += [run(MODIFIED, seed=seed, iterations=90, evaluate_every=40) for seed in (1, 0)]
RUNS += [run(NMRU(), Adam(lr=0.05), seed=0, iterations=110, evaluate_every=30, ramp=None, clip_norm=1.0)]
RUNS += [run(NMU(), task=task("mul"), seed=5, iterations=130, evaluate_every=40)]


def contents(results: Results) -> dict[str, bytes]:
    """Everything that training decides, as bytes."""
    found = {
        name: getattr(results, name).tobytes() for name in ("best_row", "solved", "solved_at", "finished")
    }
    for i in range(len(results.runs)):
        groups = {"weights": results.weights(i), "best": results.best_weights(i), "curves": results.curves(i)}
        found |= {
            f"{i} {group} {key}": a.tobytes() for group, arrays in groups.items() for key, a in arrays.items()
        }
    return found


def hold_after_a_save(caught: str, freed: str) -> None:
    """Make this process save after every call and, after its second save, wait to be killed.

    It writes its number into ``caught``; while the file ``freed`` exists, it does not wait.
    """
    training.CALL_SECONDS = training.CHECKPOINT_SECONDS = 0.0
    save, saves = Checkpoint.save, []

    def save_and_wait(self, programs, seconds):
        save(self, programs, seconds)
        saves.append(1)
        if len(saves) == 2 and not Path(freed).exists():
            Path(caught).write_text(str(os.getpid()))
            wait_for(Path(freed).exists)

    Checkpoint.save = save_and_wait


def wait_for(condition, seconds: float = 60.0) -> None:
    """Poll until the condition holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def kill_when_caught(caught: Path, freed: Path) -> threading.Thread:
    """Kill the process that ``hold_after_a_save`` holds, as soon as it does."""

    def kill():
        wait_for(lambda: caught.exists() and caught.read_text())
        freed.touch()
        os.kill(int(caught.read_text()), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def fit_in_processes(folder: str, caught: str, freed: str) -> None:
    """The program of a user who presses Ctrl-C: leave with status 7 if partial results came back."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from mathkernels.ensemble import fit

    signal.signal(signal.SIGINT, signal.default_int_handler)
    how = {"mp_context": get_context("spawn"), "initializer": hold_after_a_save, "initargs": (caught, freed)}
    with ProcessPoolExecutor(1, **how) as pool:
        results = fit(RUNS, threads=1, executor=pool, shards=3, checkpoint=folder)
    sys.exit(7 if results.interrupted and not results.finished.any() and len(results.steps(0)) else 8)
