"""How random bits become the inputs of a run (see csrc/common/random.h), and what is known of their signs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathkernels.data.arithmetic import Ranges, Task
from mathkernels.data.distributions import Distribution, Range

HALF = 2**30
STEPS = 2**31


class Mapping(NamedTuple):
    """x = (integer - anchor) * scale + offset for 31-bit integers."""

    anchor: int
    scale: float
    offset: float


def mapping(part: Range) -> Mapping:
    """Return the mapping onto a range of one interval.

    If the interval contains or touches 0, the anchor is the integer that stands for 0, offset half a step:
    values near 0 keep their relative precision and 0 itself does not occur.

    Raises:
        ValueError: the range has two intervals.
    """
    if len(part.intervals) != 1:
        raise ValueError(f"Task.interpolation: got {str(part)!r}, needs one interval to train on")
    low, high = part.intervals[0]
    step = (high - low) / STEPS
    if low <= 0 <= high:
        return Mapping(min(max(round(-low / step), 0), STEPS), step, step / 2)
    return Mapping(HALF, step, low + (HALF + 0.5) * step)


def by_input(ranges: Ranges, inputs: int) -> list[Distribution]:
    """Return the distribution of each input: all alike, or first and second half."""
    half = inputs // 2
    return [ranges[0] if i < half or len(ranges) == 1 else ranges[1] for i in range(inputs)]


def constant_signs(task: Task, margin: float) -> np.ndarray | None:
    """Return per input 1.0 (always negative) or 0.0 (never), or None if some input changes its sign.

    Negative intervals must end below -margin, because NMRU adds an epsilon before it takes the reciprocal.
    """
    signs = np.zeros(task.inputs)
    sides = (by_input(task.interpolation, task.inputs), by_input(task.extrapolation, task.inputs))
    for i in range(task.inputs):
        intervals = [interval for side in sides for interval in side[i].intervals]
        if all(high < -margin for _, high in intervals):
            signs[i] = 1.0
        elif not all(low >= 0 for low, _ in intervals):
            return None
    return signs
