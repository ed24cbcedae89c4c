"""What the writers of equations and of LaTeX share: rational numbers, sums and fractions within trees."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction

from mathkernels.data.symbolic import algebra
from mathkernels.data.symbolic.growth import depth
from mathkernels.data.symbolic.language import Tree

# how tightly a text holds together
SUM, PRODUCT, POWER, ATOM = range(4)


def number(value: Fraction) -> Tree:
    return value.numerator if value.denominator == 1 else ("div", value.numerator, value.denominator)


def rational(tree: Tree) -> Fraction | None:
    """The value of a tree that is a rational number, None of another."""
    if isinstance(tree, int):
        return Fraction(tree)
    if (
        isinstance(tree, tuple)
        and tree[0] == "div"
        and all(isinstance(part, int) for part in tree[1:])
        and tree[2]
    ):
        return Fraction(tree[1], tree[2])
    return None


def power(base: Tree, exponent: Tree) -> Tree:
    if base == "E":
        return ("exp", exponent)
    return ("sqrt", base) if exponent == algebra.HALF else ("pow", base, exponent)


def chain(operator: str, tree: Tree) -> list[Tree]:
    found = []
    while isinstance(tree, tuple) and tree[0] == operator:
        found.append(tree[1])
        tree = tree[2]
    return [*found, tree]


def factors_of(tree: Tree) -> tuple[Fraction, list[Tree], list[Tree]]:
    """The rational factor of a product, and the others above and below the line of a fraction."""
    value, above, below = Fraction(1), [], []
    waiting = [(tree, True)]
    while waiting:
        node, is_above = waiting.pop()
        own = rational(node)
        if own:
            value = value * own if is_above else value / own
        elif isinstance(node, tuple) and node[0] in ("mul", "div"):
            waiting += [(node[2], is_above ^ (node[0] == "div")), (node[1], is_above)]
        elif isinstance(node, tuple) and node[0] == "inv":
            waiting.append((node[1], not is_above))
        elif (
            isinstance(node, tuple) and node[0] == "pow" and (by := rational(node[2])) is not None and by < 0
        ):
            base = node[1] if by == -1 else power(node[1], number(-by))
            (below if is_above else above).append(base)
        else:
            (above if is_above else below).append(node)
    return value, above, below


def whole(writer: Callable[[Tree], tuple[str, int]], tree: Tree) -> str:
    """What a writer makes of a tree, also of one that is nested deeper than Python's recursion goes."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 5 * depth(tree))
    try:
        return writer(tree)[0]
    finally:
        sys.setrecursionlimit(before)
