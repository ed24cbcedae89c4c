"""How random bits become the inputs of a run (see csrc/common/random.h), and what is known of their signs."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from mathkernels import _C
from mathkernels.data import normal
from mathkernels.data.arithmetic import Ranges, Task
from mathkernels.data.distributions import Benford, Distribution, Range, TruncatedNormal, ranges_text

HALF = 2**30
STEPS = 2**31
KINDS: dict[type, int] = {
    Range: _C.distributions["uniform"],
    TruncatedNormal: _C.distributions["truncated_normal"],
    Benford: _C.distributions["benford"],
}


# The series that a truncated normal follows near 0 (csrc/trainers/nalm/distribution.h): its terms, and how
# far it is used, as a share of its radius of convergence. A further term would add less than the type shows.
TERMS = 10
REACH = {np.dtype(np.float32): 1 / 8, np.dtype(np.float64): 1 / 32}
# A range that ends this close to 0, measured by its width, counts its integers from that end.
NEAR_END = 1 / 64


class Mapping(NamedTuple):
    """x = (integer - anchor) * scale + offset for 31-bit integers; what is not uniform also has a shape.

    ``least`` is half a step of x near 0.
    """

    anchor: int
    scale: float
    offset: float
    least: float
    shape: tuple[float, ...] = ()


@functools.lru_cache(maxsize=4096)
def mapping(part: Distribution, real: np.dtype) -> Mapping:
    """Return how integers become numbers of a distribution to train on, in the type ``real``.

    If a range contains or touches 0, the anchor is the integer that stands for 0, offset half a step: values
    near 0 keep their relative precision and 0 itself does not occur. If it ends near 0, the anchor is there.

    Raises:
        ValueError: the range has two intervals, or steps so small that one over them is infinite.
    """
    if isinstance(part, Benford):
        return Mapping(
            0, 1.0, 0.0, 0.5, (1 / STEPS, 0.5 / STEPS, part.low, part.low - part.low // 10, part.low // 10)
        )
    if isinstance(part, TruncatedNormal):
        found = _truncated_normal(part, real)
    elif len(part.intervals) != 1:
        raise ValueError(f"Task.interpolation: got {str(part)!r}, needs one interval to train on")
    else:
        found = _uniform(*part.intervals[0])
    least_step = float(np.finfo(real).tiny)
    if 2 * found.least < least_step:
        what = f"needs a width of at least {STEPS * least_step:.2g}, whose steps {real.name} can divide by"
        raise ValueError(f"Task.interpolation: got {str(part)!r}, {what}")
    return found


def _uniform(low: float, high: float) -> Mapping:
    step = (high - low) / STEPS
    if low <= 0 <= high:
        return Mapping(min(max(round(-low / step), 0), STEPS), step, step / 2, step / 2)
    if 0 < low < NEAR_END * (high - low):
        return Mapping(0, step, low + step / 2, step / 2)
    if 0 < -high < NEAR_END * (high - low):
        return Mapping(STEPS - 1, step, high - step / 2, step / 2)
    return Mapping(HALF, step, low + (HALF + 0.5) * step, step / 2)


def _truncated_normal(part: TruncatedNormal, real: np.dtype) -> Mapping:
    """Probabilities are exact until they are rounded once, so that mirrored distributions are mirrored."""
    below_low, below_high, below_zero = (part.below(x) for x in (part.low, part.high, 0.0))
    half, one = Decimal("0.5"), Decimal(1)
    step = (below_high - below_low) / STEPS
    first = min(max(round((below_zero - below_low) / step), 0), STEPS)
    inside = part.low <= 0 <= part.high
    # the lower edge of integer 0; what then lies outside the range by less than a step is clamped to its end
    origin = below_zero - first * step if inside else below_low
    middle = min(max(round((half - origin) / step), 0), STEPS)
    density = normal.density(normal.standardised(0.0, part.mean, part.sd))
    shift = origin + first * step - below_zero + step / 2
    reach = min(below_zero, one - below_zero) * Decimal(REACH[real])
    # a step of x at the place of the range that is nearest to 0
    nearest = normal.density(normal.standardised(min(max(0.0, part.low), part.high), part.mean, part.sd))
    least = Decimal(part.sd) * step / max(nearest, step) / 2
    usable = reach > 4 * step
    terms = normal.expansion(normal.standardised(0.0, part.mean, part.sd), TERMS) if usable else ()
    numbers = (
        *(step, middle, origin + middle * step - half + step / 2),
        *(origin + step / 2, one - origin - STEPS * step + step / 2),
        *(part.mean, part.sd, part.low, part.high),
        *(first, shift, reach if usable else -1, one / density if usable else 0),
        *(part.sd * each for each in terms or (0.0,) * TERMS),
    )
    return Mapping(0, 1.0, 0.0, float(least), tuple(float(number) for number in numbers))


@functools.lru_cache(maxsize=4096)
def avoided(part: Distribution, epsilon: float, real: np.dtype) -> tuple[float, float, float] | None:
    """Return low, high and a substitute for numbers (of a uniform range: integers) that meet -epsilon.

    None if no draw does, as in all ranges of the papers. See csrc/trainers/nalm/draw.h.
    """
    found, target = mapping(part, real), -float(real.type(epsilon))
    low, high = part.intervals[0]
    margin = 2 * found.least
    if target == 0 or isinstance(part, Benford) or not low - margin <= target <= high + margin:
        return None
    if isinstance(part, TruncatedNormal):
        # nor may a draw lie much closer to it than to its neighbours: at least a quarter of a step away
        here = float(normal.density(normal.standardised(target, part.mean, part.sd)))
        away = max(
            part.sd * found.shape[0] / here / 4 if here else 0.0, float(np.spacing(real.type(-target)))
        )
        first, last = float(real.type(target - away)), float(real.type(target + away))
        other = np.nextafter(real.type(last), real.type(np.inf))
        if other > high:
            other = np.nextafter(real.type(first), real.type(-np.inf))
        return first, last, float(other)
    scale, offset = (Fraction(float(real.type(value))) for value in (found.scale, found.offset))
    # what rounds to the target lies between the middles to its neighbours, ties included
    beside = [Fraction(float(np.nextafter(real.type(target), real.type(way)))) for way in (-np.inf, np.inf)]
    ends = [((Fraction(target) + each) / 2 - offset) / scale for each in beside]
    first = _real_integer(max(math.ceil(ends[0]), -found.anchor), real, 1)
    last = _real_integer(min(math.floor(ends[1]), STEPS - found.anchor), real, -1)
    if first > last:
        return None
    other = _real_integer(int(last) + 1, real, 1)
    return first, last, other if other < STEPS - found.anchor else _real_integer(int(first) - 1, real, -1)


def _real_integer(number: int, real: np.dtype, way: int) -> float:
    """Return the nearest integer that the type holds, not below ``number`` (way 1) or not above it (-1)."""
    found = real.type(number)
    if (int(found) - number) * way < 0:
        found = np.nextafter(found, real.type(way * np.inf))
    return float(found)


def least_sum(parts: Sequence[Distribution], real: np.dtype) -> float:
    """Return what stands for a sum of inputs that is exactly 0: about the least size of another sum.

    That is half a step of the widest input, or half the spacing of the type at the largest number.
    """
    largest = max(abs(bound) for part in parts for interval in part.intervals for bound in interval)
    steps = max(mapping(part, real).least for part in parts)
    return max(steps, float(np.finfo(real).eps) * largest / 2)


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

    Negative intervals must end below -margin, because NMRU adds an epsilon before it takes the reciprocal:
    the margin is at least that epsilon.
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
