"""Values that a caller might pass where a size, a number, a flag or a name is wanted."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from fuzzing.calls import Draw


class Given(NamedTuple):
    """A value, and whether it is right: True, False, or None where both are defensible."""

    value: Any
    right: bool | None = None
    huge: bool = False


ANYTHING = [
    *(Given(v, False) for v in ("", "x", "3", b"3", [], [1], {}, (1, 2), object(), int, 1j, ...)),
    *(Given(v, False) for v in (math.nan, np.float64("nan"), np.zeros(3), torch.zeros(2), np.array(["a"]))),
    Given("\0"),
    Given("x" * 300),
]
SIZES = [
    *(
        Given(v, False)
        for v in (0, -1, -(2**31), -(2**63), -(10**30), 2.5, -0.5, True, False, None, math.inf)
    ),
    *(Given(v, False) for v in (np.int64(0), np.int32(-3), np.float32(2.0), np.bool_(True), 3.0)),
    Given(1, True),
    Given(3, True),
    *(Given(v) for v in (np.int64(2), np.int8(3), np.uint16(2), np.array(2), torch.tensor(2))),
]
# what no machine holds: refused, or out of memory
HUGE = [Given(v, False, True) for v in (2**40, 2**62, 2**63, 2**64, 10**30, 10**400, np.int64(2**62))]
NUMBERS = [
    *(Given(v, False) for v in (math.inf, -math.inf, -1.0, True, None, np.bool_(False), -1e-300)),
    *(Given(v, True) for v in (0.5, 1)),
    *(
        Given(v)
        for v in (0, 0.0, 1e-320, 1e300, 10**30, 10**400, np.float32(0.5), np.float64(0.25), np.int64(1))
    ),
]
FLAGS = [Given(True, True), Given(False, True), *(Given(v) for v in (0, 1, np.bool_(True), 1.0))]
FLAGS += [Given(v, False) for v in (2, -1, None, 0.5, "true")]


def size(draw: Draw) -> Given:
    return draw.choice(draw.choice((SIZES, SIZES, HUGE, ANYTHING)))


def number(draw: Draw) -> Given:
    return draw.choice(draw.choice((NUMBERS, NUMBERS, ANYTHING)))


def flag(draw: Draw) -> Given:
    return draw.choice(draw.choice((FLAGS, ANYTHING)))


def anything(draw: Draw) -> Given:
    group = draw.choice((ANYTHING, SIZES, HUGE, NUMBERS, FLAGS))
    return Given(draw.choice(group).value)
