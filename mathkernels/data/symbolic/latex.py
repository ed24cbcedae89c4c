"""Trees as LaTeX."""

from __future__ import annotations

from typing import Final

from mathkernels.data.symbolic import algebra
from mathkernels.data.symbolic.language import COEFFICIENTS, CONSTANTS, VARIABLES, Tree
from mathkernels.data.symbolic.parts import (
    ATOM,
    POWER,
    PRODUCT,
    SUM,
    chain,
    factors_of,
    rational,
    whole,
)

_NAMES: Final = frozenset(("ln", "sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth"))


def write(tree: Tree) -> str:
    r"""LaTeX of a tree, such as ``\frac{x}{2}``, in the style of sympy; nothing is computed.

    Raises:
        OutsideLanguageError: the tree holds the unknown function.
    """
    return whole(_text, tree)


def _text(tree: Tree) -> tuple[str, int]:
    if isinstance(tree, int):
        return str(tree), ATOM if tree >= 0 else SUM
    if isinstance(tree, str):
        return _leaf(tree), ATOM
    operator, operands = tree[0], tree[1:]
    if operator in ("add", "sub"):
        text = _plain(operands[0])
        for term in chain("add", operands[1]) if operator == "add" else [operands[1]]:
            own = _within(term, SUM if operator == "add" else PRODUCT)
            if operator == "add":
                text += f" - {own[1:]}" if own.startswith("-") else f" + {own}"
            else:
                text += f" - {own}"
        return text, SUM
    if operator in ("mul", "div", "inv"):
        return _product(tree)
    if operator == "pow" and (value := rational(operands[1])) is not None and value < 0:
        return _product(tree)
    if operator == "pow" or (operator in algebra.SHORTHANDS and operator != "inv"):
        exponent = _plain(operands[1]) if operator == "pow" else str(algebra.SHORTHANDS[operator])
        base = operands[0]
        if isinstance(base, tuple) and base[0] in _NAMES and exponent.isdecimal():
            return f"\\{base[0]}^{{{exponent}}}{_closed(base[1])}", POWER
        return f"{_within(base, ATOM)}^{{{exponent}}}", POWER
    if operator == "exp":
        return f"e^{{{_plain(operands[0])}}}", POWER
    if operator == "sqrt":
        return f"\\sqrt{{{_plain(operands[0])}}}", ATOM
    if operator == "abs":
        return f"\\left|{{{_plain(operands[0])}}}\\right|", ATOM
    name = f"\\{operator}" if operator in _NAMES else f"\\operatorname{{{operator}}}"
    return f"{name}{_closed(operands[0])}", ATOM


def _leaf(leaf: str) -> str:
    if leaf in COEFFICIENTS:
        return f"{leaf[0]}_{{{leaf[1:]}}}"
    if leaf not in VARIABLES and leaf not in CONSTANTS:
        raise algebra.OutsideLanguageError(f"'{leaf}' is no number")
    return {"pi": "\\pi", "E": "e"}.get(leaf, leaf)


def _closed(tree: Tree) -> str:
    return f"{{\\left({_plain(tree)} \\right)}}"


def _within(tree: Tree, least: int) -> str:
    text, holds = _text(tree)
    return text if holds >= least else f"\\left({text}\\right)"


def _product(tree: Tree) -> tuple[str, int]:
    value, above, below = factors_of(tree)
    sides, is_fraction = [], bool(below) or value.denominator != 1
    for integer, factors in ((abs(value.numerator), above), (value.denominator, below)):
        alone = len(factors) == 1 and integer == 1 and is_fraction
        texts = [_within(factor, SUM if alone else PRODUCT) for factor in factors]
        text = str(integer) if integer != 1 or not texts else ""
        for own in texts:
            text += (" \\cdot " if own[0].isdecimal() else " ") * bool(text) + own
        sides.append(text)
    sign = "-" if value < 0 else ""
    text = sides[0] if sides[1] == "1" else f"\\frac{{{sides[0]}}}{{{sides[1]}}}"
    return sign + text, SUM if sign else PRODUCT


def _plain(tree: Tree) -> str:
    return _text(tree)[0]
