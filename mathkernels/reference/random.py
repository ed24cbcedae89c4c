"""The random streams of the training kernels, written again in numpy from their definition.

A stream is a function of four keys (seed, iteration, sample, input) and has no state. Two generators give 32
bits for each key:

- "hash": splitmix64's finaliser (Steele, Lea & Flood 2014) turns (seed, iteration) into two 32-bit words and
  two odd steps; sample and input, each times its step, then pass two rounds of xorshift and multiplication,
  with one of the words added before each. Random steps leave no fixed difference between neighbouring keys.
- "philox": Philox4x32-10 (Salmon et al. 2011), key = seed, counter = (iteration, input, sample // 4), word
  sample % 4.

How the bits become a number of U[low, high] is in :class:`Mapping`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Integers = int | npt.NDArray[Any]
Interval = tuple[float, float]

GOLDEN_64, GOLDEN_32 = 0x9E3779B97F4A7C15, 0x9E3779B9  # of splitmix64 and of Philox
STEPS = 2**31  # a range is cut into this many equal steps


def _words(value: Integers, bits: type[np.unsignedinteger[Any]]) -> npt.NDArray[Any]:
    return np.atleast_1d(np.asarray(value)).astype(bits)


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash_bits(
    seed: Integers, iteration: Integers, sample: Integers, input: Integers
) -> npt.NDArray[np.uint32]:
    """Return the 32 bits of the default generator; the keys broadcast against each other."""
    golden, half = np.uint64(GOLDEN_64), np.uint64(32)
    state = _mix(_words(seed, np.uint64) + golden)
    z = _mix(state + (_words(iteration, np.uint64) + np.uint64(1)) * golden)
    key0, key1 = z.astype(np.uint32), (z >> half).astype(np.uint32)
    sample_step = ((z * np.uint64(0xD1342543DE82EF95)) >> half).astype(np.uint32) | np.uint32(1)
    input_step = (key0 ^ key1) | np.uint32(1)
    x = _words(sample, np.uint32) * sample_step + _words(input, np.uint32) * input_step + key0
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    x = (x ^ (x >> np.uint32(15))) + key1
    x = x * np.uint32(0x735A2D97)
    return x ^ (x >> np.uint32(16))


def philox_words(counter: Sequence[Integers], key: Sequence[Integers]) -> list[npt.NDArray[np.uint32]]:
    """Return the four words that Philox4x32-10 makes of a counter of four words and a key of two."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    c = [_words(word, np.uint64) for word in counter]
    k = [_words(word, np.uint64) for word in key]
    for _ in range(10):
        left, right = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(right >> half) ^ c[1] ^ k[0], right & low, (left >> half) ^ c[3] ^ k[1], left & low]
        k = [(k[0] + np.uint64(GOLDEN_32)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return [word.astype(np.uint32) for word in np.broadcast_arrays(*c)]


def philox_bits(
    seed: Integers, iteration: Integers, sample: Integers, input: Integers
) -> npt.NDArray[np.uint32]:
    """Return the 32 bits of the strict generator; the keys broadcast against each other."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    t, s, b = _words(iteration, np.uint64), _words(seed, np.uint64), _words(sample, np.uint64)
    words = philox_words((t & low, t >> half, input, b // np.uint64(4)), (s & low, s >> half))
    lane = np.broadcast_to(b % np.uint64(4), words[0].shape).astype(np.int64)
    return np.choose(lane, words)


GENERATORS = {"hash": hash_bits, "philox": philox_bits}


@dataclass(frozen=True)
class Mapping:
    """How 32 bits become a number of U[low, high]: ``fma(real((bits >> 1) - anchor), scale, offset)``.

    The anchor is the step that stands for 0 where the range contains or touches 0, so that numbers near 0
    keep their relative precision; an end that is nearer to 0 than 1/64 of the width; else the middle. Numbers
    are the middles of the steps: 0 does not occur.
    """

    anchor: int
    scale: np.floating[Any]
    offset: np.floating[Any]

    @classmethod
    def of(cls, low: float, high: float, dtype: npt.DTypeLike = np.float32) -> Mapping:
        real: Any = np.dtype(dtype).type
        width = high - low
        scale = real(width / STEPS)
        if low <= 0 <= high:
            return cls(min(max(round(-low / width * STEPS), 0), STEPS), scale, real(scale / 2))
        if min(abs(low), abs(high)) < width / 64:
            anchor = 0 if low > 0 else STEPS - 1
            return cls(anchor, scale, real(low + width / STEPS / 2 if low > 0 else high - width / STEPS / 2))
        anchor = STEPS // 2
        return cls(anchor, scale, real(low + (anchor + 0.5) * width / STEPS))

    def __call__(self, bits: npt.NDArray[np.uint32]) -> npt.NDArray[Any]:
        steps = (bits >> np.uint32(1)).astype(np.int64) - self.anchor
        return fused_multiply_add(steps.astype(self.scale.dtype), self.scale, self.offset)


def _two_sum(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return s = a + b rounded and the error a + b - s (Knuth)."""
    s = a + b
    other = s - a
    return s, (a - (s - other)) + (b - other)


def _two_product(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return p = a b rounded and the error a b - p (Dekker), float64."""

    def split(v: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        shifted = v * (2.0**27 + 1)
        upper = shifted - (shifted - v)
        return upper, v - upper

    p = a * b
    (a1, a2), (b1, b2) = split(a), split(b)
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


def _sum_to_odd(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return a + b rounded to odd: an inexact sum gets an odd last bit, so that it may be rounded again."""
    s, error = _two_sum(a, b)
    even = (s.view(np.int64) & 1) == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where((error != 0) & even, np.nextafter(s, toward), s)


def fused_multiply_add(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return a b + c with one rounding, in float32 or float64 as ``a`` (Boldo & Melquiond 2008)."""
    dtype = np.asarray(a).dtype
    x, y, z = (np.atleast_1d(v).astype(np.float64) for v in np.broadcast_arrays(a, b, c))
    if dtype == np.float32:
        return _sum_to_odd(x * y, z).astype(np.float32)  # the product of two float32 is exact in float64
    product, rest = _two_product(x, y)
    upper, lower = _two_sum(z, rest)
    total, error = _two_sum(product, upper)
    return total + _sum_to_odd(error, lower)


def uniforms(
    seed: int,
    iteration: int,
    batch: int,
    inputs: int,
    ranges: Sequence[Interval],
    dtype: npt.DTypeLike = np.float32,
    generator: str = "hash",
) -> npt.NDArray[Any]:
    """Return the training samples (B, I) of one iteration of one run.

    Args:
        seed, iteration: of the run; integers of at least 0.
        batch, inputs: B and I.
        ranges: I pairs (low, high), or one for all inputs.
        dtype: float32 or float64.
        generator: a key of :data:`GENERATORS`.

    Raises:
        ValueError: for a generator that does not exist, or ranges that do not fit the inputs.
    """
    if generator not in GENERATORS:
        raise ValueError(f"generator: got {generator!r}, needs one of {', '.join(GENERATORS)}")
    if len(ranges) not in (1, inputs):
        raise ValueError(f"ranges: got {len(ranges)}, needs one for all inputs or one for each of {inputs}")
    bits = GENERATORS[generator](seed, iteration, np.arange(batch)[:, None], np.arange(inputs))
    mappings = [
        Mapping.of(low, high, dtype) for low, high in (ranges if len(ranges) > 1 else [*ranges] * inputs)
    ]
    return np.stack([mapping(bits[:, i]) for i, mapping in enumerate(mappings)], axis=1)


@dataclass(frozen=True)
class TruncatedNormal:
    """How 32 bits become a number of a normal distribution that is cut to [low, high].

    A step of the distribution function is 1 / 2^31 of the interval's probability, a number lies at the middle
    of its step. If the interval contains 0, the steps are shifted, by half of one at most, so that 0 is
    between two of them: no number is 0, and numbers near 0 are precise relative to their own size.
    """

    mean: float
    sd: float
    low: float
    high: float

    def __call__(self, bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
        ends = torch.tensor([self.low, self.high, 0.0], dtype=torch.float64)
        below_low, below_high, below_zero = torch.special.ndtr((ends - self.mean) / self.sd).tolist()
        step = (below_high - below_low) / STEPS
        zero = min(max(round((below_zero - below_low) / step), 0), STEPS)
        inside = self.low <= 0 <= self.high
        integers = (bits >> np.uint32(1)).astype(np.float64) + 0.5
        start = below_zero - zero * step if inside else below_low
        direct = self.mean + self.sd * torch.special.ndtri(torch.from_numpy(start + integers * step)).numpy()
        if inside:
            near = np.abs(direct) < 0.1 * self.sd
            direct[near] = self.sd * self._solved((integers[near] - zero) * step)
        return np.clip(direct, self.low, self.high)

    def _solved(self, probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return u between whose x = u sd and 0 lies this probability (negative below 0), by Newton's method.

        The probability is an integral over a short interval: it has no difference of numbers near 1 in it.
        """
        nodes, weights = np.polynomial.legendre.leggauss(12)
        at = -self.mean / self.sd

        def density(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)

        u = probability / density(np.array(at))
        for _ in range(6):
            inner = density(at + u[:, None] * (nodes + 1) / 2)
            u = u - (u * (inner @ weights) / 2 - probability) / density(at + u)
        return u


def by_quantile(
    function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
) -> Callable[[npt.NDArray[np.uint32]], npt.NDArray[Any]]:
    """Return how bits become numbers of a distribution, given the number below which a share of it lies."""
    return lambda bits: function(((bits >> np.uint32(1)) + 0.5) / STEPS)


def drawn(
    seed: int,
    iteration: int,
    batch: int,
    functions: Sequence[Callable[[npt.NDArray[np.uint32]], npt.NDArray[Any]]],
    dtype: npt.DTypeLike = np.float32,
    generator: str = "hash",
) -> npt.NDArray[Any]:
    """Return the training samples (B, I) of inputs that are not uniform.

    Args:
        seed, iteration, batch, generator: as in :func:`uniforms`.
        functions: I functions of the bits (:class:`TruncatedNormal`, :func:`by_quantile`), in float64.
        dtype: float32 or float64, of the result.
    """
    bits = GENERATORS[generator](seed, iteration, np.arange(batch)[:, None], np.arange(len(functions)))
    return np.stack([function(bits[:, i]) for i, function in enumerate(functions)], axis=1).astype(dtype)


def avoiding(x: npt.NDArray[Any], epsilon: float) -> npt.NDArray[Any]:
    """Return samples that nowhere are -epsilon in their type: such a number becomes the next one upwards.

    The compiled streams step to the next draw instead, which differs as little and is as rare.
    """
    target = x.dtype.type(-epsilon)
    return np.where((x == target) & (target != 0), np.nextafter(target, x.dtype.type(np.inf)), x)


def samples(
    run: Any, iteration: int, *, dtype: npt.DTypeLike, generator: str, epsilon: float = 0.0
) -> npt.NDArray[Any]:
    """Return the training samples (B, I) of one iteration of a run, whatever its distributions.

    Args:
        run: of an ensemble; its task, seed and batch are read.
        iteration: of the run.
        dtype, generator: as in :func:`uniforms`.
        epsilon: what the module adds to its inputs before it divides by them.

    Raises:
        ValueError: a distribution has two intervals.
    """
    inputs, parts = run.task.inputs, run.task.interpolation
    each = [parts[0 if i < inputs // 2 else -1] for i in range(inputs)]
    if any(len(part.intervals) > 1 for part in each):
        raise ValueError(f"Task.interpolation: got {parts}, needs one interval for each input to train on")
    if all(hasattr(part, "quantile") for part in each):
        functions = [
            TruncatedNormal(part.mean, part.sd, part.low, part.high)
            if hasattr(part, "sd")
            else by_quantile(part.quantile)
            for part in each
        ]
        found = drawn(run.seed, iteration, run.batch, functions, dtype, generator)
    else:
        ranges = [part.intervals[0] for part in each]
        found = uniforms(run.seed, iteration, run.batch, inputs, ranges, dtype, generator)
    return avoiding(found, epsilon)
