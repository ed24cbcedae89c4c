"""Distributions of the inputs of arithmetic tasks: uniform ranges, truncated normals, Benford integers.

Each samples from numpy's legacy ``RandomState`` in the order of the published generators (Mistry, Farrahi &
Hare 2021, arXiv 2110.05177), so that fixed sets equal theirs, and is written as text that it also reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from mathkernels.data import normal
from mathkernels.data.ranges import FLOAT32, is_number, shown

_NUMBER = r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*"
_PAIR = rf"\s*:?\s*\[{_NUMBER},{_NUMBER}[\])]\s*"
_INTERVAL = re.compile(rf"\s*U{_PAIR}")
_BENFORD = re.compile(rf"\s*B{_PAIR}")
_TRUNCATED_NORMAL = re.compile(rf"\s*TN\({_NUMBER},{_NUMBER}\){_PAIR}")
FORMS = "'U[-2,2]' or 'U[-6,-2] or U[2,6]', 'TN(0,1)[-5,5]' or 'B[10,100]'"

# Probability of the first digits 1 to 9, with the three decimals of the published generator.
FIRST_DIGITS = (0.301, 0.176, 0.125, 0.097, 0.079, 0.067, 0.058, 0.051, 0.046)

LEAST_MASS = Decimal("1e-6")  # of the interval of a truncated normal, which is drawn with 31 bits

Interval = tuple[float, float]


def _plain(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def _numbers(text: str, match: re.Match[str] | None) -> list[float]:
    """Return the numbers of a text that a pattern has matched."""
    try:
        if match:
            return [float(number) for number in match.groups()]
    except ValueError:  # such as 1.2.3
        pass
    raise ValueError(f"range: got {shown(text)}, needs the form {FORMS}")


def _bounds(what: str, low: float, high: float) -> Interval:
    if not (is_number(low) and is_number(high) and low < high):
        right = f"finite bounds with low < high, of a size that float32 holds ({FLOAT32:.2g})"
        raise ValueError(f"{what}: got ({shown(low)}, {shown(high)}), needs {right}")
    return float(low), float(high)


@dataclass(frozen=True)
class Range:
    """Uniform distribution on one interval, or on two of which each entry picks one with probability 1/2.

    Args:
        intervals: one or two pairs (low, high), finite, low < high.

    ``parse_distribution(str(r)) == r`` for every range r.
    """

    intervals: tuple[Interval, ...]

    def __post_init__(self) -> None:
        try:
            intervals = tuple((low, high) for low, high in self.intervals)
        except (TypeError, ValueError):
            right = "pairs (low, high) of numbers"
            raise ValueError(f"Range.intervals: got {shown(self.intervals)}, needs {right}") from None
        if len(intervals) not in (1, 2):
            raise ValueError(f"Range.intervals: got {len(intervals)} intervals, needs one or two")
        intervals = tuple(_bounds("Range.intervals", low, high) for low, high in intervals)
        object.__setattr__(self, "intervals", intervals)

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read "U[-2,2]" or "U[-6,-2] or U[2,6]"; the papers' closing parenthesis is read too."""
        pairs = [_numbers(text, _INTERVAL.fullmatch(part)) for part in text.split(" or ")]
        return cls(tuple((low, high) for low, high in pairs))

    def __str__(self) -> str:
        return " or ".join(f"U[{_plain(low)},{_plain(high)}]" for low, high in self.intervals)

    def sample(self, random_state: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
        """Draw float64 entries: each interval's array in turn, then 0/1 where 1 picks the first."""
        # as random_state.uniform, whose sum and product some machines round once
        drawn = [low + (high - low) * random_state.random_sample(shape) for low, high in self.intervals]
        if len(drawn) == 1:
            return drawn[0]
        return np.where(random_state.randint(2, size=shape) == 1, drawn[0], drawn[1])


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal distribution of this mean and standard deviation, cut to [low, high].

    One uniform number per entry goes through the inverse distribution function.
    """

    mean: float
    sd: float
    low: float
    high: float

    def __post_init__(self) -> None:
        _bounds("TruncatedNormal.low, high", self.low, self.high)
        if not (is_number(self.mean) and is_number(self.sd) and self.sd > 0):
            given = f"({shown(self.mean)}, {shown(self.sd)})"
            raise ValueError(f"TruncatedNormal.mean, sd: got {given}, needs finite numbers with sd > 0")
        for name in ("mean", "sd", "low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.below(self.high) - self.below(self.low) < LEAST_MASS:
            what = f"needs an interval that the normal reaches, with a probability of at least {LEAST_MASS}"
            raise ValueError(f"TruncatedNormal.mean, sd, low, high: got {self}, {what}")

    @classmethod
    def parse(cls, text: str) -> TruncatedNormal:
        """Read "TN(-1,3)[-5,10]": mean, standard deviation, low, high."""
        return cls(*_numbers(text, _TRUNCATED_NORMAL.fullmatch(text)))

    def __str__(self) -> str:
        return f"TN({_plain(self.mean)},{_plain(self.sd)})[{_plain(self.low)},{_plain(self.high)}]"

    @property
    def intervals(self) -> tuple[Interval]:
        return ((self.low, self.high),)

    def below(self, x: float) -> Decimal:
        """Return the probability of a number below x without the truncation, to 50 digits."""
        return normal.below(normal.standardised(x, self.mean, self.sd))

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """Return the value (float64) below which a fraction in [0, 1] of the distribution lies."""
        low, high = self.below(self.low), self.below(self.high)
        mass = float(high - low)
        z = normal.quantile(float(low) + share * mass, float(1 - high) + (1 - share) * mass)
        return np.clip(self.mean + self.sd * z, self.low, self.high)

    def sample(self, random_state: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
        """Draw float64 entries."""
        return self.quantile(random_state.random_sample(shape))


@dataclass(frozen=True)
class Benford:
    """Integers of low <= x < high whose first digit follows Benford's law; bounds 10^k and 10^(k+1), k >= 1.

    The digits after the first are uniform from low / 10 to high / 10, so their own first digit is never 0, as
    in the published generator.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        fits = is_number(self.low) and is_number(self.high)
        low = float(self.low) if fits else 0.0
        if not fits or low not in [10**k for k in range(1, 7)] or self.high != 10 * low:
            given = f"({shown(self.low)}, {shown(self.high)})"
            raise ValueError(f"Benford.low, high: got {given}, needs 10^k and 10^(k+1) with k from 1 to 6")
        for name in ("low", "high"):
            object.__setattr__(self, name, int(getattr(self, name)))

    @classmethod
    def parse(cls, text: str) -> Benford:
        """Read "B[10,100]"."""
        return cls(*_numbers(text, _BENFORD.fullmatch(text)))  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"B[{self.low},{self.high}]"

    @property
    def intervals(self) -> tuple[Interval]:
        return ((float(self.low), float(self.high)),)

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """Return the value (float64) below which a fraction in [0, 1) of the distribution lies."""
        starts = np.concatenate([[0.0], np.cumsum(FIRST_DIGITS)[:-1]])
        digit = np.searchsorted(starts, share, side="right") - 1
        count = self.low - self.low // 10
        others = np.rint((share - starts[digit]) / np.array(FIRST_DIGITS)[digit] * count - 0.5)
        return (digit + 1) * self.low + self.low // 10 + np.clip(others, 0, count - 1)

    def sample(self, random_state: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
        """Draw float64 entries: all first digits, then all others."""
        first = random_state.choice(np.arange(1, 10), size=shape, p=FIRST_DIGITS)
        others = random_state.randint(self.low // 10, self.high // 10, size=shape)
        return (first * self.low + others).astype(np.float64)


Distribution = Range | TruncatedNormal | Benford


def parse_distribution(text: str) -> Distribution:
    """Read one distribution from its text form."""
    kind = TruncatedNormal if text.strip().startswith("TN") else Range
    return (Benford if text.strip().startswith("B") else kind).parse(text)


def parse_ranges(given: str | Distribution | Sequence[str | Distribution]) -> tuple[Distribution, ...]:
    """Return one distribution for all inputs, or one for each half of them, from text, one, or a sequence.

    Text separates the halves by a semicolon: "U[-2,-1] ; U[1,2]".
    """
    if isinstance(given, Distribution):
        return (given,)
    if isinstance(given, str):
        return tuple(parse_distribution(part) for part in given.split(";"))
    try:
        return tuple(part if isinstance(part, Distribution) else parse_distribution(part) for part in given)
    except (TypeError, AttributeError):
        raise TypeError(
            f"ranges: got {given!r}, needs a Range, text like 'U[1,2]', or a sequence of these"
        ) from None


def ranges_text(ranges: Sequence[Distribution]) -> str:
    """Inverse of :func:`parse_ranges`."""
    return " ; ".join(str(part) for part in ranges)
