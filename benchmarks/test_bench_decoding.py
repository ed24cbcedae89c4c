"""Greedy decoding and beam search beside loops of stock torch; report_decoding.py gives the ratios."""

import decoding_proof
import pytest
from decoding_cases import SHORT, TABLE
from decoding_participants import PARTICIPANTS, participants
from sequence_pool import Pool, thread_counts


@pytest.fixture(scope="module")
def pool():
    with Pool(participants=PARTICIPANTS, proof=decoding_proof) as processes:
        yield processes


@pytest.mark.parametrize(
    ("which", "name"),
    [(which, name) for which, case in enumerate(TABLE) for name in participants(case)],
)
def test_answers(benchmark, pool, short, which, name):
    case, threads = (SHORT if short else TABLE)[which], thread_counts(short)[-1]
    pool.prove(case, name, threads)
    benchmark.group = case.name
    benchmark.extra_info["questions"] = case.sentences
    args = (case, name, threads, "forward", 1)
    benchmark.pedantic(pool.time, args=args, rounds=1 if short else 5, warmup_rounds=1)
