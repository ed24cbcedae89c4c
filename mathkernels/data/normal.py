"""The standard normal distribution by exact operations alone, so that its numbers are the same everywhere.

Libraries round exp, log and the error function in ways of their own, which differ with the version and with
the instruction set of the processor. Single numbers are computed here in decimal arithmetic and rounded once;
arrays by sums, products, quotients and square roots, which IEEE 754 defines to the last bit.
"""

from __future__ import annotations

import decimal
import functools
import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

_CONTEXT = decimal.Context(prec=60)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
_FAR = 40  # standard deviations beyond which a double holds no probability
_SERIES = 5  # up to here the power series, beyond it the continued fraction
_FRACTIONS = 500

# Algorithm AS 241, PPND16 (Wichura 1988): relative error about 1e-16
_MIDDLE = (
    (
        *(3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3),
        *(1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4),
        *(3.3430575583588128105e4, 2.5090809287301226727e3),
    ),
    (
        *(1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3),
        *(2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4),
        5.2264952788528545610e3,
    ),
)
_TAIL = (
    (
        *(1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0),
        *(3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1),
        *(2.27238449892691845833e-2, 7.74545014278341407640e-4),
    ),
    (
        *(1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1),
        *(1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4),
        1.05075007164441684324e-9,
    ),
)
_FAR_TAIL = (
    (
        *(6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0),
        *(2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3),
        *(2.71155556874348757815e-5, 2.01033439929228813265e-7),
    ),
    (
        *(1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2),
        *(7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7),
        2.04426310338993978564e-15,
    ),
)


def standardised(x: float, mean: float, sd: float) -> Decimal:
    """Return (x - mean) / sd to 60 digits."""
    difference = _CONTEXT.subtract(Decimal(x), Decimal(mean))
    return _CONTEXT.divide(difference, Decimal(sd))


@functools.lru_cache(maxsize=1024)
def density(z: Decimal) -> Decimal:
    """Return the density of the standard normal distribution at z, to 60 digits."""
    c = _CONTEXT
    power = c.exp(c.divide(c.multiply(z, z), Decimal(-2)))
    return c.divide(power, c.sqrt(c.multiply(Decimal(2), _PI)))


@functools.lru_cache(maxsize=1024)
def below(z: Decimal) -> Decimal:
    """Return the probability of a number below z, to about 50 digits of its smaller side."""
    c = _CONTEXT
    if z > 0:
        return c.subtract(Decimal(1), below(-z))
    if z < -_FAR:
        return Decimal(0)
    if z < -_SERIES:  # density / (s + 1 / (s + 2 / (s + 3 / …))) at s = -z
        rest = -z
        for k in range(_FRACTIONS, 0, -1):
            rest = c.add(-z, c.divide(Decimal(k), rest))
        return c.divide(density(z), rest)
    term = total = z  # 1/2 + density * sum z^(2k + 1) / (1 * 3 * … * (2k + 1))
    k = 1
    while abs(term) > Decimal("1e-58"):
        k += 2
        term = c.divide(c.multiply(term, c.multiply(z, z)), Decimal(k))
        total = c.add(total, term)
    return c.add(Decimal("0.5"), c.multiply(density(z), total))


def _ratio(x: np.ndarray, coefficients: Sequence[Sequence[float]]) -> np.ndarray:
    above, under = (functools.reduce(lambda total, each: total * x + each, c[::-1]) for c in coefficients)
    return above / under


def log(x: np.ndarray) -> np.ndarray:
    """Return the natural logarithm of positive normal float64, to about 2 ULP."""
    fraction, exponent = np.frexp(x)
    small = fraction < math.sqrt(0.5)
    fraction, exponent = np.where(small, 2 * fraction, fraction), exponent - small
    s = (fraction - 1) / (fraction + 1)  # log is 2 atanh(s), |s| < 0.172
    square, series = s * s, np.zeros_like(s)
    for k in range(23, 1, -2):
        series = (series + 1 / k) * square
    # the upper part of ln 2 has few digits, so that its product with the exponent is exact
    return exponent * 6.93147180369123816490e-01 + (
        2 * s + (2 * s * series + exponent * 1.90821492927058770002e-10)
    )


def quantile(p_below: np.ndarray, p_above: np.ndarray) -> np.ndarray:
    """Return the standard normal quantile (float64) where p_below = 1 - p_above lies below it.

    Both are given, because each side is precise where it is small.
    """
    q = (p_below - p_above) / 2
    tail = np.maximum(np.minimum(p_below, p_above), 1e-300)
    near = 0.180625 - q * q
    middle = q * _ratio(np.maximum(near, 0.0), _MIDDLE)
    root = np.sqrt(-log(tail))
    outer = np.where(root <= 5.0, _ratio(root - 1.6, _TAIL), _ratio(root - 5.0, _FAR_TAIL))
    return np.where(np.abs(q) <= 0.425, middle, np.where(q < 0, -outer, outer))


def expansion(z: Decimal, terms: int) -> tuple[float, ...]:
    """Return a_1 … a_terms of quantile(below(z) + density(z) u) = z + a_1 u + a_2 u^2 + …"""
    polynomial, found = (
        [Decimal(1)],
        [],
    )  # of z, lowest power first: the derivatives P_n of Wichura's quantile
    factorial = Decimal(1)
    for n in range(1, terms + 1):
        factorial *= n
        value = functools.reduce(
            lambda total, each: _CONTEXT.add(_CONTEXT.multiply(total, z), each), polynomial[::-1], Decimal(0)
        )
        found.append(float(_CONTEXT.divide(value, factorial)))
        slope = [k * each for k, each in enumerate(polynomial)][1:]  # P_(n+1) = P_n' + n z P_n
        shifted = [Decimal(0), *(n * each for each in polynomial)]
        slope += [Decimal(0)] * (len(shifted) - len(slope))
        polynomial = [a + b for a, b in zip(slope, shifted, strict=True)]
    return tuple(found)
