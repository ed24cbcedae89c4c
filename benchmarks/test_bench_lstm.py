"""LSTM sequences: the fused layer beside torch.nn, loops and JAX; report_sequences.py gives the ratios."""

import pytest
from sequence_cases import SEQUENCE_CASES
from sequence_pool import Pool
from sequence_testing import parametrize, run

pytest.importorskip("jax", reason="a rival: pip install mathkernels[bench]")


@pytest.fixture(scope="module")
def pool(short):
    with Pool(shared=short) as processes:
        yield processes


def pytest_generate_tests(metafunc):
    parametrize(metafunc, "lstm")


def test_sequence(benchmark, pool, short, case, name, verb):
    run(benchmark, pool, SEQUENCE_CASES[case], name, verb, short)
