"""Powers of a decay rate by exact operations alone, so that all machines have the same schedules.

Libraries round powers in ways of their own: numpy's differ in the last digit between instruction sets. Here a
product of two float64 is kept as the rounded product and its error, a pair of 106 bits, which sums and
products give exactly (Dekker 1971). So nearly every power is correctly rounded: about one in 2^40 is not.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

DIGIT = 256
Pair = tuple[np.ndarray, np.ndarray]
_SPLIT = 2.0**27 + 1


def _exact_product(a: np.ndarray, b: np.ndarray) -> Pair:
    """Return a b rounded, and what was rounded off."""
    p = a * b
    big_a, big_b = a * _SPLIT, b * _SPLIT
    a1, b1 = big_a - (big_a - a), big_b - (big_b - b)
    a2, b2 = a - a1, b - b1
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


def _product(a: Pair, b: Pair) -> Pair:
    upper, lower = _exact_product(a[0], b[0])
    lower = lower + (a[0] * b[1] + a[1] * b[0])
    total = upper + lower
    return total, lower - (total - upper)


@functools.lru_cache(maxsize=64)
def _table(base: float, digit: int) -> Pair:
    """Return base^(k DIGIT^digit) for k = 0 … DIGIT - 1."""
    step: Pair = (np.array(base), np.array(0.0))
    if digit > 0:
        upper, lower = _table(base, digit - 1)
        step = _product((upper[-1], lower[-1]), (upper[1], lower[1]))
    found: list[Pair] = [(np.array(1.0), np.array(0.0))]
    for _ in range(1, DIGIT):
        found.append(_product(found[-1], step))
    return np.array([pair[0] for pair in found]), np.array([pair[1] for pair in found])


def powers(base: float, exponents: np.ndarray) -> np.ndarray:
    """Return base^exponent in float64.

    Args:
        base: in [0, 1].
        exponents: integers of at least 0.
    """
    exponents = np.asarray(exponents, np.int64)
    result: Pair = (np.ones(exponents.shape), np.zeros(exponents.shape))
    for digit in itertools.count():
        rest = exponents // DIGIT**digit
        if not rest.any():
            return result[0]
        upper, lower = _table(float(base), digit)
        k = rest % DIGIT
        result = _product(result, (upper[k], lower[k]))
    raise AssertionError("unreachable")


@functools.lru_cache(maxsize=16)
def one_less_powers(beta: float, first: int, last: int) -> np.ndarray:
    """Return 1 - beta^(t + 1) for t = first … last - 1, not to be written to.

    Powers that are lost in the difference are not taken: they would be half of the time of a model alone.
    """
    result = np.ones(last - first)
    needed = last if beta <= 0 else min(last, math.ceil(40 / -math.log(beta)))  # exp(-40) < 2^-54
    if needed > first:
        result[: needed - first] -= powers(beta, np.arange(first + 1, needed + 1))
    return result
