"""Whole training runs: ours beside the rivals. Answers are proved equal first; report.py gives the ratios."""

import pytest
from cases import CASES
from proof import ITERATIONS, assert_equal_answers
from worker import COMPILED, NUMBA, OURS, Worker, participants

pytest.importorskip("jax", reason="a rival: pip install mathkernels[bench]")


@pytest.fixture(scope="module")
def worker():
    with Worker(threads=1) as process:
        yield process


@pytest.mark.parametrize(("case", "name"), [(case, name) for case in CASES for name in participants(case, 1)])
def test_training(benchmark, worker, short, case, name):
    if short and (name == COMPILED or (case.endswith("-10") and name != NUMBA)):
        pytest.skip("too long for the short mode")
    found = worker.prove(case, name, ITERATIONS)
    assert_equal_answers(case, name, worker.prove(case, OURS, ITERATIONS), found)
    iterations = 50 if short else 1000  # ours evaluates once in 1,000 iterations
    worker.time(case, name, iterations)  # compiles and warms up
    benchmark.group = case
    benchmark.extra_info["model iterations"] = worker.models(case, name) * iterations
    benchmark.pedantic(worker.time, args=(case, name, iterations), rounds=1 if short else 3)
