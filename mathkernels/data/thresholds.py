"""Success thresholds of arithmetic tasks: what a network reaches whose weights are off by a small epsilon.

Two-layer task (Madsen & Johansen 2020): an additive layer maps I inputs to a and b, an exact second layer
computes a op b. Weights of the first layer that should be 1 are 1 - e, those that should be 0 are e. The
threshold is the mean squared difference that this makes on the extrapolation range, found by simulation.

One-layer task (Mistry, Farrahi & Hare 2022, the benchmark of their primer): one layer computes a op b from
the inputs, all of its weights off by e.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mathkernels.data.arithmetic import CHALLENGING, MOST_INPUTS, OPERATIONS, RANGES, ranges_text
from mathkernels.data.distributions import Range
from mathkernels.data.ranges import count, is_number, number, plain, require, valid_seed

SAMPLES = 1_000_000
EPSILON, ONE_LAYER_EPSILON = 1e-5, 1e-4
SEED = 1234
MOST_SAMPLES = 100_000_000  # 0.8 GB of squares
_CHUNK = 2_000_000  # numbers drawn at once

# The first line of the published tables; "threshold" and "standard.error" follow where they are simulated.
COLUMNS = (
    *("operation", "parameter", "simple", "input.size", "subset.ratio", "overlap.ratio"),
    *("range.a", "range.b", "range.mirror", "epsilon", "extrapolation.range"),
)
SIMULATED_COLUMNS = (*COLUMNS, "threshold", "standard.error")


class Simulated(NamedTuple):
    """A mean over samples and its standard error."""

    value: float
    error: float


def _range(text: str) -> Range:
    return Range.parse(text)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One setting of the two-layer task; the defaults are the papers'.

    Args:
        operation: see :data:`OPERATIONS`; those of one operand take a.
        parameter: what the setting varies, as the published tables name it.
        simple: 4 inputs, a their sum and b that of the first two; the ratios do not count then.
        inputs, subset_ratio, overlap_ratio: see :class:`Task`.
        extrapolation: the range that the threshold is of.
    """

    operation: str
    parameter: str = "default"
    simple: bool = False
    inputs: int = 100
    subset_ratio: float = 0.25
    overlap_ratio: float = 0.5
    extrapolation: Range = field(default_factory=lambda: _range("U[2,6]"))

    def __post_init__(self) -> None:
        fits = isinstance(self.operation, str) and self.operation in OPERATIONS
        require(fits, "Setup.operation", self.operation, f"one of {', '.join(OPERATIONS)}")
        require(isinstance(self.parameter, str), "Setup.parameter", self.parameter, "a name")
        require(isinstance(self.simple, bool), "Setup.simple", self.simple, "True or False")
        object.__setattr__(self, "inputs", count("Setup.inputs", self.inputs, 1, MOST_INPUTS))
        for name in ("subset_ratio", "overlap_ratio"):
            ratio = getattr(self, name)
            require(is_number(ratio) and 0 <= ratio <= 1, f"Setup.{name}", ratio, "a number in [0, 1]")
            object.__setattr__(self, name, plain(ratio))
        fits = isinstance(self.extrapolation, Range)
        require(fits, "Setup.extrapolation", self.extrapolation, "a Range")

    def subsets(self, inclusive: bool) -> tuple[slice, slice]:
        """Return the inputs that form a and b.

        Args:
            inclusive: one input more than in training, as in the published thresholds, whose script takes
                both ends of a subset. The simple setting is exact in both.
        """
        if self.simple:
            return slice(0, 4), slice(0, 2)
        size = math.floor(self.subset_ratio * self.inputs)
        second = size - math.floor(self.overlap_ratio * size)
        return slice(0, size + inclusive), slice(second, second + size + inclusive)

    def row(self, epsilon: float = EPSILON) -> dict[str, Any]:
        """Return the setting under the columns of the published tables."""
        low, high = self.extrapolation.intervals[-1]
        mirrored = len(self.extrapolation.intervals) == 2
        values = (
            *(
                self.operation,
                self.parameter,
                self.simple,
                self.inputs,
                self.subset_ratio,
                self.overlap_ratio,
            ),
            *(low, high, mirrored, epsilon, ranges_text([self.extrapolation]).replace(" or ", " & ")),
        )
        return dict(zip(COLUMNS, values, strict=True))


def _mul(parameter: str, **changed: Any) -> Setup:
    return Setup(operation="mul", parameter=parameter, **changed)


_SIMPLE: dict[str, Any] = {"parameter": "simple", "simple": True, "inputs": 4}
# Every setting that has a published threshold.
TWO_LAYERS: tuple[Setup, ...] = (
    *(Setup(operation=name) for name in ("add", "sub", "mul", "div", "squared", "root")),
    *(Setup(operation=name, **_SIMPLE) for name in ("add", "sub", "mul")),
    *(_mul("subset.ratio", subset_ratio=ratio) for ratio in (0.05, 0.1, 0.25, 0.5)),
    *(
        _mul("extrapolation.range", extrapolation=_range(text))
        for text in ("U[-6,-2]", "U[-6,-2] or U[2,6]", "U[1,5]", "U[0.2,2]", "U[1.2,6]", "U[20,40]")
    ),
    *(_mul("input.size", inputs=size) for size in (4, 10, 25, 50, 75, *range(125, 301, 25))),
)


def two_layer_threshold(
    setup: Setup,
    *,
    epsilon: float = EPSILON,
    samples: int = SAMPLES,
    seed: int = SEED,
    inclusive: bool = True,
) -> Simulated:
    """Return the threshold of a two-layer setting.

    Args:
        epsilon: how far every weight of the first layer is off.
        samples: drawn from the extrapolation range, at least 2.
        seed: of the draws.
        inclusive: the subsets of the published thresholds, one input longer than those of training.
    """
    epsilon = number("epsilon", epsilon, 0, "a finite number of at least 0")
    arity, operation = OPERATIONS[setup.operation]
    subsets = setup.subsets(inclusive)[:arity]

    def difference(x: np.ndarray) -> np.ndarray:
        total = x.sum(axis=1)
        exact = [x[:, subset].sum(axis=1) for subset in subsets]
        return operation(*(part + epsilon * (total - 2 * part) for part in exact)) - operation(*exact)

    return _mean_square(difference, setup.extrapolation, setup.inputs, samples, seed)


def one_layer_threshold(
    operation: str,
    extrapolation: Range,
    *,
    inputs: int = 2,
    epsilon: float = ONE_LAYER_EPSILON,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> Simulated:
    """Return the threshold of the one-layer task: a and b are single inputs, all others irrelevant.

    Raises:
        ValueError: none is defined of the operation.
    """
    if operation not in ("add", "sub", "mul", "div"):
        raise ValueError(f"operation: got {operation!r}, needs add, sub, mul or div")
    epsilon = number("epsilon", epsilon, 0, "a finite number of at least 0")
    inputs = count("inputs", inputs, 2, MOST_INPUTS)

    def difference(x: np.ndarray) -> np.ndarray:
        if operation in ("add", "sub"):
            return epsilon * np.abs(x).sum(axis=1)
        others = np.prod(1 - epsilon * np.abs(x[:, 2:]), axis=1)
        if operation == "mul":
            return x[:, 0] * x[:, 1] * ((1 - epsilon) ** 2 * others - 1)
        return x[:, 0] / x[:, 1] * ((1 - epsilon) / (1 + epsilon) * others - 1)

    return _mean_square(difference, extrapolation, inputs, samples, seed)


def _mean_square(
    difference: Callable[[np.ndarray], np.ndarray], part: Range, inputs: int, samples: int, seed: int
) -> Simulated:
    """Return the mean of squared differences over samples (N, I), drawn in float64 in equal chunks."""
    samples = count("samples", samples, 2, MOST_SAMPLES)
    random_state = np.random.RandomState(valid_seed("seed", seed))
    rows = max(_CHUNK // inputs, 1)
    squares = [
        difference(part.sample(random_state, (min(rows, samples - begun), inputs))) ** 2
        for begun in range(0, samples, rows)
    ]
    drawn = np.concatenate(squares)
    return Simulated(float(drawn.mean()), float(drawn.std(ddof=1) / math.sqrt(samples)))


def two_layer_rows(
    samples: int = SAMPLES, seed: int = SEED, inclusive: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield the table of all published two-layer settings with their simulated thresholds."""
    for setup in TWO_LAYERS:
        found = two_layer_threshold(setup, samples=samples, seed=seed, inclusive=inclusive)
        yield {**setup.row(), "threshold": found.value, "standard.error": found.error}


def division_rows(distributions: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the experiment setups of the division paper: one per operation and extrapolation range.

    Their epsilon is used directly as threshold of the mean squared error; it is no perturbation.

    Args:
        distributions: the second table, of the challenging distributions.
    """
    fields: dict[str, Any] = {"parameter": "extrapolation.range", "inputs": 2, "subset_ratio": 0.5}
    tests = (
        [test[0] for _, test in CHALLENGING.values()] if distributions else [t for _, t in RANGES.values()]
    )
    spans = dict.fromkeys(Range(test.intervals) for test in tests)
    for operation in ("div",) if distributions else ("add", "sub", "mul", "div"):
        for span in spans:
            yield Setup(operation=operation, overlap_ratio=0.0, extrapolation=span, **fields).row()
