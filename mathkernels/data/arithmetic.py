"""Arithmetic tasks: a = sum of one index subset, b = sum of another, target = a op b.

The streams are numpy's legacy ``RandomState`` (MT19937), seeded and drawn as in the published experiments of
Mistry, Farrahi & Hare 2021 (arXiv 2110.05177), whose generator goes back to Madsen & Johansen 2020.
Validation and test sets therefore equal the papers' own sets.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from mathkernels.data.distributions import Distribution, Range, parse_ranges, ranges_text
from mathkernels.data.ranges import count, is_number, is_whole, plain, require, shown, valid_seed

VALIDATION_SEED = 43953907
TEST_SEED = 8689336
EVALUATION_SAMPLES = 10_000
MOST_INPUTS = 65_536
MOST_NUMBERS = 2**31  # of one array of samples, 16 GB

# operation -> (how many subsets it reads, its meaning)
OPERATIONS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "add": (2, lambda a, b: a + b),
    "sub": (2, lambda a, b: a - b),
    "mul": (2, lambda a, b: a * b),
    "div": (2, lambda a, b: a / b),
    "reciprocal": (1, lambda a: 1 / a),
    "squared": (1, lambda a: a * a),
    "root": (1, lambda a: np.sqrt(a)),
}


def suggestion(name: object, known: Iterable[str], also: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return "; did you mean …?" for a near miss of a known name, else an empty string.

    Args:
        name: what was given.
        known: what would be right.
        also: names of the same things elsewhere -> the known ones.
    """
    for other, right in also.items():
        if str(name).casefold() == other.casefold():
            return f"; did you mean {right!r}?"
    names = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(str(name).casefold(), names, n=1)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


Ranges = tuple[Distribution, ...]  # of all inputs, or of each half of them


def _table(rows: Sequence[tuple[str, str]]) -> dict[str, tuple[Ranges, Ranges]]:
    return {inside: (parse_ranges(inside), parse_ranges(outside)) for inside, outside in rows}


# Interpolation (training, validation) and extrapolation (test) ranges of the division papers, by the former.
RANGES: dict[str, tuple[Range, Range]] = {
    inside: (Range.parse(inside), Range.parse(outside))
    for inside, outside in [
        ("U[-20,-10]", "U[-40,-20]"),
        ("U[-2,-1]", "U[-6,-2]"),
        ("U[-1.2,-1.1]", "U[-6.1,-1.2]"),
        ("U[-0.2,-0.1]", "U[-2,-0.2]"),
        ("U[-2,2]", "U[-6,-2] or U[2,6]"),
        ("U[0.1,0.2]", "U[0.2,2]"),
        ("U[1,2]", "U[2,6]"),
        ("U[1.1,1.2]", "U[1.2,6]"),
        ("U[10,20]", "U[20,40]"),
    ]
}

# Data sets whose sign is fixed by position: first half of the inputs ; second half.
MIXED_SIGNS: dict[str, tuple[Ranges, Ranges]] = _table(
    [
        ("U[-2,2]", "U[-6,-2] or U[2,6]"),
        ("U[-2,-0.1] ; U[0.1,2]", "U[-6,-2] ; U[2,6]"),
        ("U[0.1,2] ; U[-2,-0.1]", "U[2,6] ; U[-6,-2]"),
        ("U[-2,-1] ; U[1,2]", "U[-6,-2] ; U[2,6]"),
        ("U[1,2] ; U[-2,-1]", "U[2,6] ; U[-6,-2]"),
    ]
)


# Distributions that are harder to learn division on: integers, values near 0 in the divisor, wide ranges.
CHALLENGING: dict[str, tuple[Ranges, Ranges]] = _table(
    [
        ("B[10,100]", "B[100,1000]"),
        ("TN(-1,3)[-5,10]", "TN(-10,3)[-15,-5]"),
        ("TN(1,3)[-10,5]", "TN(10,3)[5,15]"),
        ("TN(0,1)[-5,5]", "TN(10,1)[5,15]"),
        ("U[-50,50]", "U[-100,-50] or U[50,100]"),
        ("U[-100,100]", "U[-200,-100] or U[100,200]"),
    ]
)

# Division by small numbers: trained, validated and tested on the same range.
NEAR_ZERO: dict[str, tuple[Ranges, Ranges]] = _table(
    [(f"U[0,{high}]", f"U[0,{high}]") for high in ("0.0001", "0.001", "0.01", "0.1", "1")]
)


@functools.lru_cache(maxsize=4096)
def _first_draws(seed: int, offsets: int) -> tuple[int, int]:
    """Offset of the subsets and seed of the training stream, in the order of the published generator."""
    random_state = np.random.RandomState(seed)
    return int(random_state.randint(0, offsets)), int(random_state.randint(0, 2**32 - 1))


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a module learns: target = a op b, where a and b sum two subsets of I independent inputs.

    Args:
        operation: "add", "sub", "mul", "div", or of a alone "reciprocal", "squared", "root".
        inputs: I, up to 65,536.
        interpolation, extrapolation: distributions of training and validation, and of the test set; a
            Range, a TruncatedNormal, a Benford, text, or two of them (first and second half of the inputs).
            Kept as a tuple of one or two.
        subset_ratio: size of a subset is floor(ratio * I); None means one element.
        overlap_ratio: neighbouring subsets share floor(ratio * size) inputs.
        spans: (first, size) of a's inputs and of b's, in place of subsets drawn from the two ratios.

    Without spans the position of the subsets among the inputs is drawn once per seed.
    """

    interpolation: Ranges
    extrapolation: Ranges
    operation: str = "div"
    inputs: int = 2
    subset_ratio: float | None = None
    overlap_ratio: float = 0.0
    spans: tuple[tuple[int, int], tuple[int, int]] | None = None

    if TYPE_CHECKING:  # the fields are tuples, but text and single ranges are accepted

        def __init__(
            self,
            *,
            interpolation: str | Distribution | Sequence[str | Distribution],
            extrapolation: str | Distribution | Sequence[str | Distribution],
            operation: str = "div",
            inputs: int = 2,
            subset_ratio: float | None = None,
            overlap_ratio: float = 0.0,
            spans: tuple[tuple[int, int], tuple[int, int]] | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.operation, str) or self.operation not in OPERATIONS:
            hint = suggestion(self.operation, OPERATIONS) if isinstance(self.operation, str) else ""
            right = f"one of {', '.join(OPERATIONS)}{hint}"
            raise ValueError(f"Task.operation: got {shown(self.operation)}, needs {right}")
        object.__setattr__(self, "inputs", count("Task.inputs", self.inputs, 1, MOST_INPUTS))
        for what in ("interpolation", "extrapolation"):
            self._check_ranges(what)
        size, overlap = self.subset_ratio, self.overlap_ratio
        fits = size is None or (is_number(size) and 0 < size <= 1)
        require(fits, "Task.subset_ratio", size, "a number in (0, 1] or None")
        fits = is_number(overlap) and 0 <= overlap <= 1
        require(fits, "Task.overlap_ratio", overlap, "a number in [0, 1]")
        object.__setattr__(self, "subset_ratio", plain(size))
        object.__setattr__(self, "overlap_ratio", plain(overlap))
        if self.spans is None:
            self._check_subsets()
        else:
            self._check_spans()

    def _check_ranges(self, what: str) -> None:
        try:
            ranges = parse_ranges(getattr(self, what))
        except (TypeError, ValueError) as error:
            raise type(error)(f"Task.{what}: {error}") from None
        if len(ranges) not in (1, 2) or len(ranges) > self.inputs:
            raise ValueError(
                f"Task.{what}: got {len(ranges)} ranges for {self.inputs} input(s), needs one for all "
                "inputs, or two, one for each half of the inputs"
            )
        if self.operation == "root" and any(low < 0 for part in ranges for low, _ in part.intervals):
            raise ValueError(f"Task.{what}: got {ranges_text(ranges)!r}, needs no negative values for 'root'")
        object.__setattr__(self, what, ranges)

    def _check_spans(self) -> None:
        try:
            spans = tuple((plain(first), plain(size)) for first, size in self.spans or ())
        except (TypeError, ValueError):
            spans = ()
        fits = len(spans) == 2 and all(
            is_whole(first) and is_whole(size) and first >= 0 and size >= 1 and first + size <= self.inputs
            for first, size in spans
        )
        right = f"two pairs (first, size) that lie within {self.inputs} inputs, or None"
        require(fits, "Task.spans", self.spans, right)
        object.__setattr__(self, "spans", spans)

    def _check_subsets(self) -> None:
        if self._size < 1:
            raise ValueError(
                f"Task.subset_ratio: got {self.subset_ratio}, needs at least one of {self.inputs} inputs, "
                f"that is {1 / self.inputs:g}"
            )
        if self._used > self.inputs:
            what = f"two subsets of {self._size} for {self.operation!r}"
            what += "" if self.subset_ratio is None else f", of subset_ratio={self.subset_ratio}"
            raise ValueError(f"Task.inputs: got {self.inputs}, needs at least {self._used} to hold {what}")

    @property
    def _size(self) -> int:
        return 1 if self.subset_ratio is None else math.floor(self.subset_ratio * self.inputs)

    @property
    def _stride(self) -> int:
        return self._size - math.floor(self.overlap_ratio * self._size)

    @property
    def _count(self) -> int:
        # one-operand tasks draw a second, unused subset where it fits, because it limits the offset
        needed = OPERATIONS[self.operation][0]
        return 2 if needed == 2 or self._stride + self._size <= self.inputs else 1

    @property
    def _used(self) -> int:
        return (self._count - 1) * self._stride + self._size

    def _drawn(self, seed: int) -> tuple[int, int]:
        offsets = 1 if self.spans else self.inputs - self._used + 1
        return _first_draws(valid_seed("seed", seed), offsets)

    def subsets(self, seed: int) -> list[tuple[int, ...]]:
        """Return the inputs that form a, and b where a second subset fits, for the run of this seed."""
        if self.spans:
            return [tuple(range(first, first + size)) for first, size in self.spans]
        offset, _ = self._drawn(seed)
        starts = [offset + number * self._stride for number in range(self._count)]
        return [tuple(range(start, start + self._size)) for start in starts]

    def training_stream_seed(self, seed: int) -> int:
        """Return the RandomState seed of the published training stream of the run of this seed."""
        return self._drawn(seed)[1]

    def target(self, x: np.ndarray, seed: int) -> np.ndarray:
        """Return the target (N,) of samples x (N, I) for the run of this seed, in float64."""
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x: got {type(x).__name__}, needs an array (N, {self.inputs})")
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"x: got shape {tuple(x.shape)}, needs (N, {self.inputs})")
        arity, operation = OPERATIONS[self.operation]
        x = x.astype(np.float64, copy=False)
        return operation(*(x[:, list(subset)].sum(axis=1) for subset in self.subsets(seed)[:arity]))

    def samples(
        self,
        random_state: np.random.RandomState,
        n: int,
        which: Literal["interpolation", "extrapolation"] = "interpolation",
    ) -> np.ndarray:
        """Draw n samples (n, I) in float64; with two ranges, two full arrays whose halves are taken."""
        if which not in ("interpolation", "extrapolation"):
            raise ValueError(f"which: got {which!r}, needs 'interpolation' or 'extrapolation'")
        n = count("n", n, 0, MOST_NUMBERS // self.inputs)
        if not isinstance(random_state, np.random.RandomState):
            raise TypeError(f"random_state: got {type(random_state).__name__}, needs numpy's RandomState")
        drawn = [part.sample(random_state, (n, self.inputs)) for part in getattr(self, which)]
        half = self.inputs // 2
        return (
            drawn[0] if len(drawn) == 1 else np.concatenate([drawn[0][:, :half], drawn[1][:, half:]], axis=1)
        )

    def evaluation_set(
        self, which: Literal["validation", "test"], seed: int, n: int = EVALUATION_SAMPLES
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the fixed set x (N, I), t (N,) in float32; all seeds share x, t follows the subsets.

        Both are drawn and computed in float64 before they are rounded.
        """
        x = self.evaluation_inputs(which, n)
        return x.astype(np.float32), self.target(x, seed).astype(np.float32)

    def evaluation_inputs(
        self, which: Literal["validation", "test"], n: int = EVALUATION_SAMPLES
    ) -> np.ndarray:
        """Return the inputs (N, I) of a fixed set in float64; they depend on the ranges alone."""
        if which not in ("validation", "test"):
            raise ValueError(f"which: got {which!r}, needs 'validation' or 'test'")
        validation = which == "validation"
        random_state = np.random.RandomState(VALIDATION_SEED if validation else TEST_SEED)
        return self.samples(random_state, n, "interpolation" if validation else "extrapolation")
