"""What test_bench_lstm.py, test_bench_gru.py and test_bench_attention.py share."""

from __future__ import annotations

import os
from typing import Any

import pytest
from sequence_cases import SHORT, TABLE
from sequence_participants import participants
from sequence_pool import PASSES, Case, Pool, thread_counts


def parametrize(metafunc: pytest.Metafunc, kind: str) -> None:
    """Give a test "case", "name" and "verb": the cases of the table, or with --short the tiny ones."""
    short = metafunc.config.getoption("--short") or os.environ.get("MATHKERNELS_BENCH_SHORT") == "1"
    cases = (SHORT if short else TABLE)[kind]
    given = [
        (case.name, name, verb)
        for case in cases
        for name in participants(case, most_threads=True, short=short)
        for verb in PASSES
    ]
    metafunc.parametrize(("case", "name", "verb"), given)


def run(benchmark: Any, pool: Pool, case: Case, name: str, verb: str, short: bool) -> None:
    """Prove a participant's answers and time one kind of pass on all threads."""
    threads = thread_counts(short)[-1]
    pool.prove(case, name, threads)
    count = 1 if short else pool.passes(case, name, threads, verb, seconds=0.2)
    benchmark.group = f"{case.name}, {verb}"
    benchmark.extra_info["passes"] = count
    benchmark.pedantic(
        pool.time, args=(case, name, threads, verb, count), rounds=1 if short else 5, warmup_rounds=1
    )
