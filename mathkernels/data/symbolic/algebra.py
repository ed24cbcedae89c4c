"""Trees as expressions of symengine and of sympy, and back: one canonical form, whoever computed.

symengine differentiates some hundred times as fast as sympy and keeps sums, products and powers in a normal
form; its objects are not handed to sympy, nor the other way round: both are made from trees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mathkernels.data.symbolic.growth import MOST_BITS, MOST_NESTED, SHORTHANDS, size
from mathkernels.data.symbolic.language import COEFFICIENTS, UNARY, VARIABLES, Tree

MOST_OPERANDS = 64  # of a sum or product, beyond which nothing that is learnt has them
_NAMES = {"log": "ln", "Abs": "abs"}  # of symengine and sympy -> of the language
_FUNCTIONS = tuple(word for word in UNARY if word not in SHORTHANDS)


class OutsideLanguageError(ValueError):
    """An expression has a part that the language has no word for: infinity, i, a special function."""


class TooLargeError(OutsideLanguageError):
    """An expression has, or leads to, a number that is too large to be computed or written."""


class _Algebra:
    """What both packages have in common.

    Args:
        module: symengine or sympy.
        functions: name in the language -> callable.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        others = {"ln": module.log, "abs": module.Abs}
        self.functions: dict[str, Callable[[Any], Any]] = {
            name: others.get(name) or getattr(module, name) for name in _FUNCTIONS
        }
        for name, power in SHORTHANDS.items():
            self.functions[name] = lambda operand, power=power: operand**power
        self.leaves = {name: module.Symbol(name) for name in (*VARIABLES, *COEFFICIENTS)}
        self.leaves |= {"pi": module.pi, "E": module.E}
        self.binary: dict[str, Callable[[Any, Any], Any]] = {
            "add": lambda a, b: a + b,
            "sub": lambda a, b: a - b,
            "mul": lambda a, b: a * b,
            "div": lambda a, b: a / b,
            "pow": lambda a, b: a**b,
        }

    def expression(self, tree: Tree) -> Any:
        """The expression of a tree.

        Raises:
            OutsideLanguageError: a leaf is the unknown function, which is no number.
            TooLargeError: a number has, or would get, more than `growth.MOST_BITS` bits, or operators are
                nested more than `growth.MOST_NESTED` deep.
        """
        if size(tree).bits > MOST_BITS:
            raise TooLargeError(
                f"a number has, or leads to, more than {MOST_BITS:,} bits, or operators are nested more than"
                f" {MOST_NESTED} deep"
            )
        return self._built(tree)

    def _built(self, tree: Tree) -> Any:
        if isinstance(tree, tuple):
            operands = [self._built(operand) for operand in tree[1:]]
            if len(operands) == 1:
                if tree[0] == "exp" and isinstance(tree[1], tuple) and tree[1][0] == "ln":
                    return self._built(tree[1][1])  # as sympy does, and symengine does not
                return self.functions[tree[0]](operands[0])
            return self.binary[tree[0]](*operands)
        if isinstance(tree, int):
            return self.module.Integer(tree)
        if tree not in self.leaves:
            raise OutsideLanguageError(f"'{tree}' is no number")
        return self.leaves[tree]


def tree_of(expression: Any) -> Tree:
    """The canonical tree of an expression of symengine or sympy.

    Operands of sums and products are ordered by their own trees, longer ones last, numbers first, and
    nested to the right; there is no ``sub``, and ``div`` stands in rational numbers only, as in the
    published data. Powers of 1/2 are ``sqrt``, powers of E ``exp``.

    Raises:
        OutsideLanguageError: see there.
    """
    kind = type(expression).__name__
    operands = expression.args
    if not operands:
        return _leaf(expression, kind)
    if kind in ("Add", "Mul"):
        if len(operands) > MOST_OPERANDS:
            raise OutsideLanguageError(f"a sum or product has {len(operands)} operands")
        trees = sorted((tree_of(operand) for operand in operands), key=_order)
        operator, found = kind.lower(), trees[-1]
        for operand in trees[-2::-1]:
            found = (operator, operand, found)
        return found
    if kind == "Pow":
        base, exponent = (tree_of(operand) for operand in operands)
        if base == "E":
            return ("exp", exponent)
        return ("sqrt", base) if exponent == HALF else ("pow", base, exponent)
    name = _NAMES.get(kind, kind)
    if name in UNARY and len(operands) == 1:
        return (name, tree_of(operands[0]))
    raise OutsideLanguageError(f"'{kind}' is no operator of the language")


HALF: Tree = ("div", 1, 2)


def _leaf(expression: Any, kind: str) -> Tree:
    if kind == "Symbol":
        name = str(expression)
        if name in VARIABLES or name in COEFFICIENTS:
            return name
    elif expression.is_Rational:
        upper, lower = int(expression.p), int(expression.q)
        if max(upper.bit_length(), lower.bit_length()) > MOST_BITS:
            raise TooLargeError(f"a number has more than {MOST_BITS:,} bits")
        return upper if lower == 1 else ("div", upper, lower)
    elif kind in ("Pi", "pi"):
        return "pi"
    elif kind in ("E", "Exp1", "exp1"):
        return "E"
    raise OutsideLanguageError(f"'{expression}' is no number or variable of the language")


def _order(tree: Tree) -> tuple[int, int, str]:
    """Numbers first, short before long, then by the text."""
    if isinstance(tree, int):
        return 0, 0, str(tree)
    if isinstance(tree, str):
        return 1, 0, tree
    text = repr(tree)
    return (0 if _is_rational(tree) else 2), len(text), text


def _is_rational(tree: Tree) -> bool:
    return isinstance(tree, tuple) and tree[0] == "div" and all(isinstance(part, int) for part in tree[1:])


def symengine_algebra() -> _Algebra:
    """Trees -> symengine.

    Raises:
        ImportError: symengine is not installed.
    """
    try:
        import symengine
    except ImportError as error:
        raise ImportError(f"symengine is missing ({error}): pip install mathkernels[symbolic]") from error
    found = _Algebra(symengine)
    found.functions["sign"] = lambda operand: symengine.sign(3 * operand if _hangs(operand) else operand)
    return found


def _hangs(operand: Any) -> bool:
    """Whether symengine 0.15 looks for the sign for ever: of powers of a negative product, sqrt(-x)."""
    if type(operand).__name__ != "Pow":
        return False
    base = operand.args[0]
    if type(base).__name__ == "Mul":
        return base.args[0].is_Rational and base.args[0] < 0
    return _hangs(base)


def sympy_algebra() -> _Algebra:
    """Trees -> sympy.

    Raises:
        ImportError: sympy is not installed.
    """
    try:
        import sympy
    except ImportError as error:
        raise ImportError(f"sympy is missing ({error}): pip install mathkernels[symbolic]") from error
    return _Algebra(sympy)
