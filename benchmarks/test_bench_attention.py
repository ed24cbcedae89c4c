"""Decoders with attention: the fused op beside loops, JAX and gradients by hand; see report_attention.py."""

import os

import attention_proof
import pytest
from attention_cases import ATTENTION_CASES, SHORT, TABLE
from attention_participants import PARTICIPANTS, participants
from sequence_pool import PASSES, Pool
from sequence_testing import run

pytest.importorskip("jax", reason="a rival: pip install mathkernels[bench]")


@pytest.fixture(scope="module")
def pool():
    with Pool(participants=PARTICIPANTS, proof=attention_proof) as processes:
        yield processes


def pytest_generate_tests(metafunc):
    short = metafunc.config.getoption("--short") or os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    threads = 1 if short else min(2, len(os.sched_getaffinity(0)))
    given = [
        (case.name, name, verb)
        for case in ((SHORT[0], SHORT[-1]) if short else TABLE)  # the report proves them all
        for name in participants(case, threads, most=True, short=short)
        for verb in PASSES
    ]
    metafunc.parametrize(("case", "name", "verb"), given)


def test_decoder(benchmark, pool, short, case, name, verb):
    run(benchmark, pool, ATTENTION_CASES[case], name, verb, short)
