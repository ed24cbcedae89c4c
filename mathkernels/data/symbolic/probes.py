"""Values of trees at real numbers: whether an expression is defined anywhere, and whether two agree
roughly."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mathkernels.data.symbolic.language import Tree

# of the published generator
POINTS = np.array([sign * at for at in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 2.1, 3.1) for sign in (1, -1)])
MOST_NESTED = 3  # of functions that grow like exp, one in another
GROWING = frozenset({"exp", "sinh", "cosh"})

Values = np.ndarray


def _reciprocal(function: Callable[[Values], Values]) -> Callable[[Values], Values]:
    return lambda x: 1 / function(x)


def _of_reciprocal(function: Callable[[Values], Values]) -> Callable[[Values], Values]:
    return lambda x: function(1 / x)


_UNARY: dict[str, Callable[[Values], Values]] = {
    "inv": lambda x: 1 / x,
    "pow2": lambda x: x**2,
    "pow3": lambda x: x**3,
    "pow4": lambda x: x**4,
    "pow5": lambda x: x**5,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "ln": np.log,
    "abs": np.abs,
    "sign": np.sign,
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
}
for _name, _of in (("cot", "tan"), ("sec", "cos"), ("csc", "sin")):
    for _h in ("", "h"):
        _UNARY[_name + _h] = _reciprocal(_UNARY[_of + _h])
        _UNARY[f"a{_name}{_h}"] = _of_reciprocal(_UNARY[f"a{_of}{_h}"])
_BINARY: dict[str, Callable[[Values, Values], Values]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
}
_LEAVES = {"pi": math.pi, "E": math.e}


def values(tree: Tree, points: Values = POINTS) -> Values:
    """The values (N) of a tree at real numbers (N), float64; NaN or infinity where it has none.

    Raises:
        KeyError: the tree has a leaf that is neither x nor a number.
    """
    with np.errstate(all="ignore"):
        found = np.asarray(_values(tree, points), np.float64)
    return np.broadcast_to(found, points.shape)


def _values(tree: Tree, points: Values) -> Values:
    if isinstance(tree, tuple):
        if len(tree) == 2:
            return _UNARY[tree[0]](_values(tree[1], points))
        return _BINARY[tree[0]](_values(tree[1], points), _values(tree[2], points))
    if isinstance(tree, int):
        return np.float64(tree) if abs(tree) < 1 << 1000 else np.float64(np.inf)  # type: ignore[return-value]
    return points if tree == "x" else np.float64(_LEAVES[tree])  # type: ignore[return-value]


def is_defined(tree: Tree) -> bool:
    """Whether a tree has a finite value at one of the points at least."""
    return bool(np.isfinite(values(tree)).any())


def nested_growth(tree: Tree) -> int:
    """How many functions that grow like exp stand one in another, at most."""
    if not isinstance(tree, tuple):
        return 0
    return (tree[0] in GROWING) + max(nested_growth(operand) for operand in tree[1:])
