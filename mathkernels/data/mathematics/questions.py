"""Single questions of the generator: each has a seed of its own, so that a dropped one moves no other."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from mathkernels.data.mathematics.modules import Sampler
from mathkernels.data.mathematics.vocabulary import MOST_ANSWER, MOST_QUESTION
from mathkernels.data.processes import OutOfTimeError, limited, seed_of

TOO_LONG, TOO_SLOW, FAILED = "too long", "too slow", "failed"
MOST_DROPPED = 20_000  # in a row: comparison__sort_more drops 300 for each question that it keeps


def set_seed(seed: int) -> None:
    """Seed the three generators that questions are drawn from."""
    from sympy.core.random import seed as seed_sympy

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the package draws from numpy's global generator
    seed_sympy(seed)


def draw(
    sampler: Sampler,
    seed: tuple[object, ...],
    count: int,
    limit: float,
    skip: frozenset[int] = frozenset(),
    begin: Callable[[int], None] = lambda number: None,
) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Return questions with their answers, and how many were dropped for which reason.

    Args:
        sampler: of a module.
        seed: names and numbers; those of question n are these and n.
        count: how many to return.
        limit: seconds of the processor that one may take.
        skip: numbers of questions that are known to take longer.
        begin: called with the number of each question before it is drawn.

    Raises:
        ValueError: thousands in a row were dropped.
    """
    found: list[tuple[str, str]] = []
    dropped = {TOO_LONG: 0, TOO_SLOW: 0, FAILED: 0}
    number = in_a_row = 0
    while len(found) < count:
        begin(number)
        reason, pair = (TOO_SLOW, ("", "")) if number in skip else _one(sampler, (*seed, number), limit)
        if reason:
            dropped[reason] += 1
            in_a_row += 1
            if in_a_row > MOST_DROPPED:
                raise ValueError(f"generator: {seed[1:]} dropped {in_a_row} questions in a row ({dropped})")
        else:
            in_a_row = 0
            found.append(pair)
        number += 1
    return found, dropped


def _one(sampler: Sampler, seed: tuple[object, ...], limit: float) -> tuple[str, tuple[str, str]]:
    set_seed(seed_of(*seed))
    try:
        with limited(limit):
            problem = sampler()
            question, answer = str(problem.question), str(problem.answer)
    except OutOfTimeError:
        return TOO_SLOW, ("", "")
    except (ArithmeticError, AssertionError, LookupError, ValueError):
        return FAILED, ("", "")  # counted: some draws of the package have no solution
    if len(question) > MOST_QUESTION or len(answer) > MOST_ANSWER or not question or not answer:
        return TOO_LONG, ("", "")
    return "", (question, answer)
