"""A fit in threads, in forked processes and in little memory: the same bits everywhere."""

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from ensemble_cases import MODIFIED, run, task

from mathkernels.ensemble import NMRU, NMU, NRU, Adam, Results, evaluate, fit

RUNS = [run(NMU(), task=task("mul"), seed=seed, iterations=400) for seed in range(20)]
RUNS += [run(MODIFIED, task=task(inputs=10), seed=seed, iterations=400) for seed in range(20)]
RUNS += [run(NMRU(), Adam(lr=1e-2), clip_norm=1.0, iterations=400), run(NRU(), iterations=400)]


def contents(results: Results) -> bytes:
    """Weights, best weights and logged rows of all runs."""
    arrays = []
    for i in range(len(results.runs)):
        for group in (results.weights(i), results.best_weights(i), results.curves(i)):
            arrays += group.values()
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


@pytest.fixture(scope="module")
def alone() -> bytes:
    return contents(fit(RUNS, threads=1))


def send_contents(connection, threads: int) -> None:
    connection.send_bytes(contents(fit(RUNS, threads=threads)))


def in_a_forked_child(threads: int) -> bytes:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=send_contents, args=(theirs, threads))
    process.start()
    theirs.close()
    try:
        assert ours.poll(120), "the child hangs"
        found = ours.recv_bytes()
        process.join(60)
    finally:
        process.kill()
    assert process.exitcode == 0
    return found


def test_a_process_forked_after_a_threaded_fit_trains_the_same_bits(alone):
    assert contents(fit(RUNS, threads=3)) == alone
    assert in_a_forked_child(threads=3) == alone
    assert contents(fit(RUNS, threads=3)) == alone  # and the parent's threads still work


def test_a_process_forked_while_other_threads_train_trains_the_same_bits(alone):
    """A lock of the thread pool, held by a thread that the child does not have, would stay held there."""
    done = threading.Event()
    found = []

    def train():
        while not done.is_set():
            found.append(contents(fit(RUNS, threads=2)))

    thread = threading.Thread(target=train)
    thread.start()
    try:
        children = [in_a_forked_child(threads=2) for _ in range(3)]
    finally:
        done.set()
        thread.join()
    assert set(children) | set(found) == {alone}


def test_fits_in_several_python_threads_at_once_train_the_same_bits(alone):
    start = threading.Barrier(4)
    found = []

    def train(threads):
        start.wait()
        found.append(contents(fit(RUNS, threads=threads)))

    threads = [threading.Thread(target=train, args=(count,)) for count in (1, 2, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 4


def test_evaluations_in_several_python_threads_at_once_agree(alone):
    results = fit(RUNS)
    parameters = [results.weights(i) for i in range(len(RUNS))]
    expected = evaluate(RUNS, parameters, threads=1).test
    found = []
    workers = [
        threading.Thread(target=lambda: found.append(evaluate(RUNS, parameters, threads=2).test))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(found, [expected] * 3)


def test_more_threads_than_work_or_processors_change_nothing(alone):
    assert contents(fit(RUNS, threads=64)) == alone


GROWTH = """
import sys
from mathkernels.ensemble import NMU, RANGES, RealNPU, Run, Task, fit

def kilobytes(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what))

def runs(module, operation, inputs, iterations):
    return [
        Run(module=module, task=task, seed=seed, iterations=iterations)
        for one, other in RANGES.values()
        for task in [Task(operation=operation, inputs=inputs, interpolation=one, extrapolation=other)]
        for seed in range(25)
    ]

fit(runs(NMU(), "mul", 2, 0)[:1], threads=2)
"""


def measured(code: str) -> list[int]:
    """Run the code in a new process, whose memory is its own, and return the numbers that it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", GROWTH + code]
    # in a folder where the sources do not hide an installed package
    where = Path(__file__).parent
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=where, timeout=300)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="reads the memory of a process from /proc"
)
def test_225_runs_take_less_than_100_megabytes_evaluation_sets_included():
    code = """
before = kilobytes("VmRSS:")
small = fit(runs(NMU(), "mul", 2, 2_000), threads=2)
middle = kilobytes("VmHWM:")
large = fit(runs(RealNPU(), "div", 10, 2_000), threads=2)
print(middle - before, kilobytes("VmHWM:") - before)
"""
    one, both = measured(code)
    assert one < 100_000
    assert both < 100_000


@pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="reads the memory of a process from /proc"
)
def test_fits_one_after_another_do_not_add_up_in_memory():
    code = """
for _ in range(3):
    fit(runs(NMU(), "mul", 2, 10), threads=2)
before = kilobytes("VmRSS:")
for _ in range(10):
    fit(runs(NMU(), "mul", 2, 10), threads=2)
print(kilobytes("VmRSS:") - before)
"""
    assert measured(code)[0] < 2_000
