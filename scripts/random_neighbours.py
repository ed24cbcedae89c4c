"""Tests of the random streams for likeness between neighbouring keys, deterministic, in numpy and scipy.

Batteries such as dieharder read one long stream. Training reads a generator along four keys at once (seed,
iteration, sample, input), so that words of neighbouring keys must look independent too. Each test returns a
:class:`Finding` with a two-sided p-value; :func:`verdict` holds all of them against one family-wise level.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Words = NDArray[np.uint32]
Generator = Callable[[Any, Any, Any, Any], Words]  # (seed, iteration, sample, input) -> words

AXES = ("seed", "iteration", "sample", "input")
BITS = (32, 20, 10, 6)  # of each key, as far as training uses them
FAMILY_LEVEL = 1e-3  # chance that a perfect generator fails anywhere in one call of `findings`
CELLS = 64


@dataclass(frozen=True)
class Finding:
    """One test: along which key, at which distance, on how many words, how unlikely under independence."""

    test: str
    axis: str
    lag: int
    words: int
    p: float


def two_sided(distribution: Any, value: float) -> float:
    return float(min(1.0, 2 * min(distribution.cdf(value), distribution.sf(value))))


def of_largest(z: NDArray[Any]) -> float:
    """Return the p-value of the largest of independent standard normal |z|."""
    single = 2 * stats.norm.sf(np.abs(z).max())
    return float(-math.expm1(z.size * math.log1p(-single))) if single < 1 else 1.0


def signs_of_bits(words: Words) -> NDArray[np.float32]:
    """Return the bits of words (N,) as -1 and 1 in an array (N, 32)."""
    octets = np.ascontiguousarray(words).view(np.uint8).reshape(-1, 4)
    bits = np.unpackbits(octets, axis=1, bitorder="little")
    return bits.astype(np.float32) * 2 - 1


def pearson(a: Words, b: Words) -> float:
    u, v = a / 2.0**32 - 0.5, b / 2.0**32 - 0.5
    return two_sided(stats.norm, float((u * v).mean()) * 12 * math.sqrt(a.size))


def bit_matrix(a: Words, b: Words) -> NDArray[np.float64]:
    """Return z-scores (32, 32) of the agreement of bit j of ``a`` with bit k of ``b``."""
    total = np.zeros((32, 32))
    for start in range(0, a.size, 2**20):  # float32 sums of 2**20 signs are exact
        part = slice(start, start + 2**20)
        total += signs_of_bits(a[part]).T @ signs_of_bits(b[part])
    return total / math.sqrt(a.size)


def histogram(a: Words, b: Words, shift: int) -> float:
    """Chi-square of the pairs (a, b) on a grid of 64 x 64 cells cut from six bits of each."""
    cells = ((a >> np.uint32(shift)) % CELLS) * CELLS + (b >> np.uint32(shift)) % CELLS
    counts = np.bincount(cells.astype(np.int64), minlength=CELLS * CELLS)
    expected = a.size / counts.size
    return two_sided(stats.chi2(counts.size - 1), float(((counts - expected) ** 2).sum() / expected))


def flips(a: Words, b: Words) -> float:
    """Chi-square of the number of bits in which pairs differ against a fair coin's."""
    differing = np.unpackbits((a ^ b).view(np.uint8).reshape(-1, 4), axis=1).sum(axis=1)
    counts = np.bincount(differing, minlength=33).astype(float)
    expected = stats.binom.pmf(np.arange(33), 32, 0.5) * a.size
    keep = expected >= 10
    observed = np.append(counts[keep], counts[~keep].sum())
    wanted = np.append(expected[keep], expected[~keep].sum())
    return two_sided(stats.chi2(observed.size - 1), float(((observed - wanted) ** 2 / wanted).sum()))


def spacings(groups: NDArray[np.uint32]) -> float:
    """Birthday spacings (Marsaglia): equal gaps among the sorted words of each group (G, 4096)."""
    size = groups.shape[1]
    gaps = np.sort(np.diff(np.sort(groups.astype(np.int64), axis=1), axis=1), axis=1)
    equal = int((np.diff(gaps, axis=1) == 0).sum())
    law = stats.poisson(groups.shape[0] * size**3 / 2.0**34)
    return float(min(1.0, 2 * min(law.cdf(equal), law.sf(equal - 1))))


def duplicates(words: Words) -> float:
    """How many words repeat an earlier one, against chance."""
    repeated = words.size - np.unique(words).size
    law = stats.poisson(words.size - 2.0**32 * -math.expm1(words.size * math.log1p(-(2.0**-32))))
    return float(min(1.0, 2 * min(law.cdf(repeated), law.sf(repeated - 1))))


def grid(shape: tuple[int, int, int, int], start: tuple[int, int, int, int] = (0, 0, 0, 0)) -> list[Any]:
    """Return the four keys of a block (seeds, iterations, samples, inputs), ready to broadcast."""
    return list(np.ogrid[tuple(slice(first, first + n) for first, n in zip(start, shape, strict=True))])


def neighbours(
    generator: Generator, shape: tuple[int, int, int, int], lags: tuple[int, ...]
) -> Iterator[Finding]:
    """Compare the words of a block of keys with those ``lag`` further along each key."""
    keys = grid(shape)
    here = generator(*keys).ravel()
    yield Finding("duplicates", "all", 0, here.size, duplicates(here))
    for (axis, name), lag in itertools.product(enumerate(AXES), lags):
        there = generator(*(key + lag * (k == axis) for k, key in enumerate(keys))).ravel()
        # overlapping pairs would spoil the chi-square laws: keep those whose key starts an even block of lags
        even = np.broadcast_to((keys[axis] // lag) % 2 == 0, shape).ravel()
        first, second = here[even], there[even]
        z = bit_matrix(first, second)
        n = first.size
        yield Finding("correlation", name, lag, n, pearson(first, second))
        yield Finding("bits, largest", name, lag, n, of_largest(z))
        yield Finding("bits, sum", name, lag, n, two_sided(stats.chi2(z.size), float((z**2).sum())))
        yield Finding("histogram, high bits", name, lag, n, histogram(first, second, 26))
        yield Finding("histogram, low bits", name, lag, n, histogram(first, second, 0))
        yield Finding("differing bits", name, lag, n, flips(first, second))


def avalanche(generator: Generator, n: int) -> Iterator[Finding]:
    """Flip one bit of one key: every output bit has to change in half of n random keys."""
    draw = np.random.RandomState(1)
    keys = [draw.randint(0, 2**bits, size=n, dtype=np.int64) for bits in BITS]
    here = generator(*keys)
    for axis, name in enumerate(AXES):
        z = np.empty((BITS[axis], 32))
        for bit in range(BITS[axis]):
            there = generator(*(key ^ ((k == axis) << bit) for k, key in enumerate(keys)))
            z[bit] = signs_of_bits(here ^ there).sum(axis=0, dtype=np.float64) / math.sqrt(n)
        yield Finding("avalanche, largest", name, 1, n, of_largest(z))
        # each pair of keys may occur from both sides, at a rate that does not matter here
        yield Finding("avalanche, sum", name, 1, n, two_sided(stats.chi2(z.size), float((z**2).sum())))


def birthdays(generator: Generator, groups: int) -> Iterator[Finding]:
    """Birthday spacings in runs of 4096 neighbouring values of one key."""
    for axis, name in enumerate(AXES):
        drawn = []
        for group in range(groups):
            start = [group * 7, group * 31, group % 128, group % 10]
            shape = [1, 1, 1, 1]
            start[axis], shape[axis] = 0 if axis == 3 else start[axis] * 4096, 4096
            drawn.append(generator(*grid(tuple(shape), tuple(start))).ravel())
        yield Finding("birthday spacings", name, 1, groups * 4096, spacings(np.array(drawn)))


def findings(
    generator: Generator,
    shape: tuple[int, int, int, int] = (16, 64, 128, 16),
    lags: tuple[int, ...] = (1, 2, 3, 4, 8, 16),
    flipped: int = 2**20,
    groups: int = 64,
) -> list[Finding]:
    """Return every test of one generator: (seeds, iterations, samples, inputs) in ``shape``."""
    return [
        *neighbours(generator, shape, lags),
        *avalanche(generator, flipped),
        *birthdays(generator, groups),
    ]


def verdict(found: list[Finding]) -> tuple[Finding, bool]:
    """Return the worst finding and whether the family passes: p at least FAMILY_LEVEL / number of tests."""
    worst = min(found, key=lambda finding: finding.p)
    return worst, worst.p >= FAMILY_LEVEL / len(found)
