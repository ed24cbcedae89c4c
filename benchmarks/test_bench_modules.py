"""Ensembles of every module beside rivals that take any module; report_modules.py gives the ratios."""

import pytest
from module_cases import MODULE_CASES
from proof import ITERATIONS, assert_equal_answers
from report_modules import participants
from worker import OURS, REFERENCE_COMPILED, Worker

pytest.importorskip("jax", reason="a rival: pip install mathkernels[bench]")
SHORT = ("NAC, 2", "GNALU, 2", "INALU, 2", "NPU modified, 2", "NMRU gated, 2", "simple product, 4")


@pytest.fixture(scope="module")
def worker():
    with Worker(threads=1) as process:
        yield process


@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case in MODULE_CASES for name in participants(case, threads=1, short=False)],
)
def test_training(benchmark, worker, short, case, name):
    if short and (case not in SHORT or name == REFERENCE_COMPILED):
        pytest.skip("the short mode takes a few modules and no compiler")
    found = worker.prove(case, name, ITERATIONS)
    assert_equal_answers(case, name, worker.prove(case, OURS, ITERATIONS), found)
    iterations = 50 if short else 1000  # ours evaluates once in 1,000 iterations
    worker.time(case, name, iterations)  # compiles and warms up
    benchmark.group = case
    benchmark.extra_info["model iterations"] = worker.models(case, name) * iterations
    benchmark.pedantic(worker.time, args=(case, name, iterations), rounds=1 if short else 3)
