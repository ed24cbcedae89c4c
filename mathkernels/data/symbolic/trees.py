"""Random trees, uniform among those of so many operators that have one or two operands.

Source: arXiv:1912.01412, section 3 and appendix C.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate

from mathkernels.data import ranges
from mathkernels.data.symbolic.language import ARITY, BINARY, COEFFICIENTS, CONSTANTS, UNARY, VARIABLES, Tree

MOST_OPERATORS = 60
# relative frequencies in the published data, and the operators of the paper's text
PUBLISHED = {
    "add": 10,
    "sub": 3,
    "mul": 10,
    "div": 5,
    "sqrt": 4,
    "pow2": 4,
    "pow3": 2,
    "pow4": 1,
    "pow5": 1,
    "ln": 4,
    "exp": 4,
    "sin": 4,
    "cos": 4,
    "tan": 4,
    **dict.fromkeys(("asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"), 1),
}


@cache
def count(empty: int, operators: int) -> int:
    """D(e, n): in how many ways n operators can be put into trees that grow from e empty places.

    D(0, n) = 0 for n > 0, D(e, 0) = 1, D(e, n) = D(e - 1, n) + D(e, n - 1) + D(e + 1, n - 1): the first
    empty place becomes a leaf, a unary or a binary operator.
    """
    if operators == 0:
        return 1
    if empty == 0:
        return 0
    return count(empty - 1, operators) + count(empty, operators - 1) + count(empty + 1, operators - 1)


@cache
def _choices(empty: int, operators: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Weights, added up, of (leaves that are skipped, operands) for the next operator."""
    pairs = [(skipped, arity) for skipped in range(empty) for arity in (1, 2)]
    weights = [count(empty - skipped + arity - 1, operators - 1) for skipped, arity in pairs]
    return list(accumulate(weights)), pairs


@dataclass(frozen=True)
class Sampler:
    """Draws trees.

    Args:
        weights: operator -> how often, beside those with as many operands.
        most_integer: leaves are 1 ... this, each as likely.
        integers: probability that a leaf is an integer, else it is the variable x.
        negative: whether integers have either sign.

    Raises:
        ValueError: an argument is out of its range; operators of one kind are missing or unknown.
    """

    weights: dict[str, float] = field(default_factory=lambda: dict(PUBLISHED))
    most_integer: int = 5
    integers: float = 0.25
    negative: bool = False

    def __post_init__(self) -> None:
        known = {*UNARY, *BINARY}
        for name, weight in self.weights.items():
            ranges.require(name in known, "operators", name, f"one of {', '.join(sorted(known))}")
            ranges.require(0 < weight < 1e9, f"operators: {name}", weight, "a positive number")
        for arity, kind in ((1, "one"), (2, "two")):
            ranges.require(
                any(ARITY[name] == arity for name in self.weights),
                "operators",
                list(self.weights),
                f"at least one with {kind} operand{'s' * (arity > 1)}",
            )
        ranges.whole("most_integer", self.most_integer, 1, 10**9)
        ranges.require(0 <= self.integers < 1, "integers", self.integers, "a probability below 1")

    def draw(self, operators: int, source: random.Random) -> Tree:
        """A tree of exactly so many operators.

        Args:
            operators: 0 ... MOST_OPERATORS.
            source: of random numbers.
        """
        skeleton: list[int] = []  # operands of each node, in prefix order
        empty = 1
        for left in range(operators, 0, -1):
            totals, pairs = _choices(empty, left)
            skipped, arity = pairs[bisect(totals, source.randrange(totals[-1]))]
            skeleton += [0] * skipped + [arity]
            empty += arity - 1 - skipped
        skeleton += [0] * empty
        by_arity = self._by_arity
        waiting: list[Tree] = []
        for arity in reversed(skeleton):
            if arity == 0:
                waiting.append(self._leaf(source))
                continue
            totals, names = by_arity[arity]
            name = names[bisect(totals, source.random() * totals[-1])]
            operands = [waiting.pop() for _ in range(arity)]
            waiting.append((name, *operands))
        return waiting.pop()

    def _leaf(self, source: random.Random) -> Tree:
        if source.random() >= self.integers:
            return VARIABLES[0]
        value = 1 + int(source.random() * self.most_integer)
        return -value if self.negative and source.random() < 0.5 else value

    @property
    def _by_arity(self) -> dict[int, tuple[list[float], list[str]]]:
        found = self.__dict__.get("_tables")
        if found is None:
            found = {}
            for arity in (1, 2):
                names = [name for name in self.weights if ARITY[name] == arity]
                found[arity] = list(accumulate(self.weights[name] for name in names)), names
            self.__dict__["_tables"] = found
        return found


def has_variable(tree: Tree) -> bool:
    """Whether x occurs."""
    if isinstance(tree, tuple):
        return any(has_variable(operand) for operand in tree[1:])
    return tree == VARIABLES[0]


def leaves(tree: Tree) -> Sequence[str | int]:
    """The leaves from left to right."""
    if isinstance(tree, tuple):
        return [leaf for operand in tree[1:] for leaf in leaves(operand)]
    return [tree]


__all__ = ["COEFFICIENTS", "CONSTANTS", "PUBLISHED", "Sampler", "count", "has_variable", "leaves"]
