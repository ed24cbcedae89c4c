"""How large the integers become that a computer algebra system computes from a tree, before it does.

Both packages evaluate powers of rational numbers at once, ``9^9^9^9`` or the factor of ``(2*x)^(10^9)``, and
nothing interrupts them. An upper estimate refuses such trees in microseconds.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from mathkernels.data.symbolic.language import Tree

MOST_BITS: Final = 14_000  # of a number; from 4,300 digits on Python makes no text of an integer
MOST_NESTED: Final = 200  # operators in one another; Python's recursion through them ends at some 300

SHORTHANDS: Final = {"inv": -1, "pow2": 2, "pow3": 3, "pow4": 4, "pow5": 5}
_HALF: Final = Fraction(1, 2)
_MOST_REACH: Final = 1000.0  # 2 to this is a float


class Size(NamedTuple):
    """What can be computed from a tree.

    Args:
        bits: of a numerator or denominator in it, at most; exponents of variables are not added up.
        reach: binary logarithm of its own numbers, at most.
        freed: bits of what its logarithms of numbers become where an exponential cancels them.
        value: if it is a rational number that is known exactly.
    """

    bits: float
    reach: float
    freed: float = 0.0
    value: Fraction | None = None


def size(tree: Tree) -> Size:
    """An upper estimate; infinite bits where it exceeds MOST_BITS or MOST_NESTED somewhere on the way."""
    try:
        return _size(tree, 0)
    except _TooLarge:
        return Size(math.inf, math.inf)


def depth(tree: Tree) -> int:
    """How many operators stand one in another, at most; without recursion."""
    most, waiting = 0, [(tree, 0)]
    while waiting:
        node, above = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend((operand, above + 1) for operand in node[1:])
        most = max(most, above)
    return most


class _TooLarge(Exception):
    pass


_SYMBOL: Final = Size(0, 0)


def _size(tree: Tree, depth: int) -> Size:
    if isinstance(tree, int):
        return _whole(tree)
    if not isinstance(tree, tuple):
        return _SYMBOL
    if depth == MOST_NESTED:
        raise _TooLarge
    name, first = tree[0], _size(tree[1], depth + 1)
    if len(tree) == 2:
        found = _unary(name, first)
    elif name == "pow":
        found = _power(first, _size(tree[2], depth + 1))
    else:
        found = _binary(name, first, _size(tree[2], depth + 1))
    if found.bits > MOST_BITS:
        raise _TooLarge
    return found


@lru_cache(1024)
def _whole(value: int) -> Size:
    return _number(Fraction(value))


def _number(value: Fraction) -> Size:
    upper, lower = math.log2(abs(value.numerator) or 1), math.log2(value.denominator)
    if max(upper, lower) > MOST_BITS:
        raise _TooLarge
    return Size(max(upper, lower), upper - lower if value else -math.inf, value=value)


def _unary(name: str, operand: Size) -> Size:
    if name in SHORTHANDS:
        return _power(operand, _whole(SHORTHANDS[name]))
    if name == "sqrt":
        return _power(operand, _number(_HALF))
    if name == "exp":
        return _power(_SYMBOL, operand)
    return Size(operand.bits, max(operand.reach, 0), operand.bits if name == "ln" else 0)


def _binary(name: str, first: Size, second: Size) -> Size:
    a, b = first.value, second.value
    if a is not None and b is not None and (b or name != "div"):
        return _number(
            a + b if name == "add" else a - b if name == "sub" else a * b if name == "mul" else a / b
        )
    bits = first.bits + second.bits + 1
    if name in ("add", "sub"):
        return Size(bits, max(first.reach, second.reach, 0) + 1, first.freed + second.freed)
    if name == "mul":
        freed = max(_times(first.freed, second.reach), _times(second.freed, first.reach))
        return Size(bits, max(first.reach + second.reach, 0), freed)
    below = -second.reach if b else second.bits
    return Size(bits, max(first.reach + below, 0), _times(first.freed, below))


def _power(base: Size, exponent: Size) -> Size:
    a, n = base.value, exponent.value
    if n is not None and n.denominator == 1 and a and not base.bits:  # 1 or -1
        return _number(a ** (n.numerator % 2))
    times = exponent.reach if n is not None else max(exponent.reach, 0)
    bits = max(_times(base.bits, times), base.bits) + exponent.freed  # e^(9 ln 2) = 2^9
    if bits > MOST_BITS:
        raise _TooLarge
    if n is not None and n.denominator == 1 and a:
        return _number(a**n.numerator)
    return Size(bits + exponent.bits, bits, base.freed)


def _times(bits: float, reach: float) -> float:
    """So many bits times 2 to the reach."""
    return bits * 2.0 ** min(reach, _MOST_REACH) if bits else 0.0
