"""Single questions of the generator: each has a seed of its own, so that a dropped one moves no other."""

from __future__ import annotations

import hashlib
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np

from mathkernels.data.mathematics.modules import Sampler
from mathkernels.data.mathematics.vocabulary import MOST_ANSWER, MOST_QUESTION

TOO_LONG, TOO_SLOW, FAILED = "too long", "too slow", "failed"
MOST_DROPPED = 20_000  # in a row: comparison__sort_more drops 300 for each question that it keeps


class OutOfTimeError(BaseException):
    """A question took longer than its limit. No Exception: sympy would catch that."""


def seed_of(*parts: object) -> int:
    """Return the seed that follows from names and numbers, the same on every machine."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def set_seed(seed: int) -> None:
    """Seed the three generators that questions are drawn from."""
    from sympy.core.random import seed as seed_sympy

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the package draws from numpy's global generator
    seed_sympy(seed)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError in the block after so many seconds of the processor; in main threads only.

    They do not pass while other programs run, so that a busy machine draws the same questions.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


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
