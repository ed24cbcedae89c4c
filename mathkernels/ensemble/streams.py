"""How random bits become the inputs of a run (see csrc/common/random.h), and what is known of their signs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathkernels.data.arithmetic import Ranges, Task
from mathkernels.data.distributions import Benford, Distribution, Range, TruncatedNormal, ranges_text

HALF = 2**30
STEPS = 2**31
KINDS: dict[type, int] = {Range: 0, TruncatedNormal: 1, Benford: 2}  # of csrc/ensemble/program.h


class Mapping(NamedTuple):
    """x = (integer - anchor) * scale + offset for 31-bit integers; what is not uniform also has a shape."""

    anchor: int
    scale: float
    offset: float
    shape: tuple[float, ...] = (0.0,) * 6


def mapping(part: Distribution) -> Mapping:
    """Return how integers become numbers of a distribution to train on.

    If a range contains or touches 0, the anchor is the integer that stands for 0, offset half a step: values
    near 0 keep their relative precision and 0 itself does not occur.

    Raises:
        ValueError: the range has two intervals.
    """
    if isinstance(part, Benford):
        return Mapping(
            0, 1.0, 0.0, (1 / STEPS, 0.5 / STEPS, part.low, part.low - part.low // 10, part.low // 10, 0.0)
        )
    if isinstance(part, TruncatedNormal):
        low, high = part.mass
        step = (high - low) / STEPS
        anchor = min(max(round((0.5 - low) / step), 0), STEPS)
        shift = low + (anchor + 0.5) * step - 0.5
        return Mapping(anchor, 1.0, 0.0, (step, shift, part.mean, part.sd, part.low, part.high))
    if len(part.intervals) != 1:
        raise ValueError(f"Task.interpolation: got {str(part)!r}, needs one interval to train on")
    low, high = part.intervals[0]
    step = (high - low) / STEPS
    if low <= 0 <= high:
        return Mapping(min(max(round(-low / step), 0), STEPS), step, step / 2)
    return Mapping(HALF, step, low + (HALF + 0.5) * step)


def distribution_kind(task: Task) -> int:
    """Return what kind of distribution the task trains on.

    Raises:
        ValueError: the two halves of the inputs have different kinds.
    """
    kinds = {type(part) for part in task.interpolation}
    if len(kinds) > 1:
        given = ranges_text(task.interpolation)
        raise ValueError(f"Task.interpolation: got {given!r}, needs one kind of distribution for both halves")
    return KINDS[kinds.pop()]


def require_squares(task: Task, ranges: Ranges, target: np.ndarray, real: np.dtype) -> None:
    """Raise ValueError if targets (N,) are too large for float32, or their squares for the type of training.

    Every error of such a task would be infinite or NaN, whatever is learned.
    """
    largest = float(np.finfo(np.float32).max)
    if real == np.float32:
        largest **= 0.5
    found = float(np.abs(target).max(initial=0.0))
    if not found <= largest:
        side = "interpolation" if ranges is task.interpolation else "extrapolation"
        what = f"whose targets reach {found:.2g} under {task.operation!r}"
        right = f"targets up to {largest:.2g}, whose squares {real} holds"
        raise ValueError(f"Task.{side}: got {ranges_text(ranges)!r}, {what}; needs {right}")


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
