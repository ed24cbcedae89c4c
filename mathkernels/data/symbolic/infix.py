"""Trees as equations: ``2*x*cos(x) - x^2*sin(x)``."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, NamedTuple

from mathkernels.data.symbolic import algebra
from mathkernels.data.symbolic import latex as latex_writer
from mathkernels.data.symbolic.language import COEFFICIENTS, CONSTANTS, UNARY, VARIABLES, Tree
from mathkernels.data.symbolic.parts import (
    ATOM,
    POWER,
    PRODUCT,
    SUM,
    chain,
    factors_of,
    number,
    power,
    rational,
    whole,
)
from mathkernels.data.symbolic.prefix import MOST_DIGITS, SyntaxProblem

DEEPEST: Final = 100  # parentheses in one another
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?|\.\d+)|([A-Za-z_]\w*|π)|(\*\*|[-+*/^()]))")
_NAMES: Final = {
    **{name: name for name in (*VARIABLES, *COEFFICIENTS, *CONSTANTS)},
    "e": "E",
    "π": "pi",
}
_FUNCTIONS: Final = {
    **{name: name for name in UNARY},
    "log": "ln",
    **{f"arc{name[1:]}": name for name in UNARY if re.fullmatch(r"a(sin|cos|tan|cot|sec|csc)h?", name)},
}


class _Token(NamedTuple):
    kind: str  # "number", "name", "sign" or "end"
    text: str
    place: int


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while place < len(text.rstrip()):
        match = _TOKEN.match(text, place)
        if match is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            raise SyntaxProblem(f"character {place + 1}, '{text[place]}', has no meaning here", place)
        kind = ("number", "name", "sign")[match.lastindex - 1]  # type: ignore[operator]
        found.append(_Token(kind, match[match.lastindex], match.start(match.lastindex)))  # type: ignore[index,arg-type]
        place = match.end()
    return [*found, _Token("end", "", len(text))]


class _Reader:
    """Sums of products of signed powers; a number, name or parenthesis may follow a number without a sign."""

    def __init__(self, text: str) -> None:
        self.tokens, self.at, self.depth = _tokens(text), 0, 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *texts: str) -> bool:
        if self.next.kind == "sign" and self.next.text in texts:
            self.at += 1
            return True
        return False

    def whole(self) -> Tree:
        found = self.sum()
        if self.next.kind != "end":
            raise self.problem("stands behind a whole expression")
        return found

    def problem(self, what: str) -> SyntaxProblem:
        token = self.next
        if token.kind == "end":
            return SyntaxProblem("the text ends where an expression is expected", token.place)
        return SyntaxProblem(f"'{token.text}' at character {token.place + 1} {what}", token.place)

    def sum(self) -> Tree:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.problem(f"is within more than {DEEPEST} parentheses")
        terms = [self.product()]
        while True:
            if self.take("+"):
                terms.append(self.product())
            elif self.take("-"):
                terms.append(negative(self.product()))
            else:
                break
        self.depth -= 1
        return nested("add", terms)

    def product(self) -> Tree:
        minus = False
        while self.next.text in ("-", "+") and self.next.kind == "sign":
            minus ^= self.next.text == "-"
            self.at += 1
        factors = [self.power()]
        while True:
            if self.take("*"):
                factors.append(self.signed())
            elif self.take("/"):
                factors.append(inverse(self.signed()))
            elif self.next.kind == "name" or self.next.text == "(":
                factors.append(self.power())  # 2 x, 2 (x + 1)
            else:
                break
        factors = merged(factors)
        found = nested("mul", factors)
        return negative(found) if minus else found

    def signed(self) -> Tree:
        if self.take("-"):
            return negative(self.signed())
        if self.take("+"):
            return self.signed()
        return self.power()

    def power(self) -> Tree:
        base = self.atom()
        return power(base, self.signed()) if self.take("^", "**") else base

    def atom(self) -> Tree:
        token = self.next
        if token.kind == "number":
            if len(token.text) > MOST_DIGITS:
                raise self.problem(f"has more than {MOST_DIGITS} digits")
            self.at += 1
            return number(Fraction(token.text))
        if token.kind == "name":
            if token.text in _NAMES:
                self.at += 1
                return _NAMES[token.text]
            if token.text.lower() not in _FUNCTIONS:
                raise self.problem("is no function, variable or constant of the language")
            self.at += 1
            if not self.take("("):
                raise SyntaxProblem(
                    f"'{token.text}' at character {token.place + 1} needs its operand in parentheses",
                    token.place,
                )
            return (_FUNCTIONS[token.text.lower()], self.closed())
        if self.take("("):
            return self.closed()
        raise self.problem("stands where an expression is expected")

    def closed(self) -> Tree:
        found = self.sum()
        if not self.take(")"):
            raise (
                self.problem("stands where ')' is expected")
                if self.next.kind != "end"
                else SyntaxProblem("the text ends, but a parenthesis is open", self.next.place)
            )
        return found


def read(text: str) -> Tree:
    """The tree of an equation's side, such as ``x^2 * ln(x)/3``.

    Powers are ``^`` or ``**``, functions have parentheses, ``log`` is the natural logarithm, and decimal
    fractions become rational numbers. Sums and products are nested to the right, as `algebra.tree_of` has
    them; nothing else is changed.

    Raises:
        SyntaxProblem: with the place of the first wrong character.
    """
    return _Reader(text).whole()


def nested(operator: str, operands: list[Tree]) -> Tree:
    found = operands[-1]
    for operand in operands[-2::-1]:
        found = (operator, operand, found)
    return found


def negative(tree: Tree) -> Tree:
    value = rational(tree)
    if value is not None:
        return number(-value)
    if isinstance(tree, tuple) and tree[0] == "mul" and (value := rational(tree[1])) is not None:
        return tree[2] if value == -1 else ("mul", number(-value), tree[2])
    return ("mul", -1, tree)


def inverse(tree: Tree) -> Tree:
    value = rational(tree)
    return number(1 / value) if value else ("pow", tree, -1)


def merged(factors: list[Tree]) -> list[Tree]:
    """The rational factors as one in front."""
    value, others = Fraction(1), []
    for factor in factors:
        own = rational(factor)
        if own is None:
            others.append(factor)
        else:
            value *= own
    return [number(value), *others] if value != 1 or not others else others


def write(tree: Tree) -> str:
    """The equation of a tree, with few parentheses; `read` gives an equal expression back."""
    return whole(_text, tree)


def _text(tree: Tree) -> tuple[str, int]:
    if isinstance(tree, int):
        return str(tree), ATOM if tree >= 0 else SUM
    if isinstance(tree, str):
        return tree, ATOM
    operator, operands = tree[0], tree[1:]
    if operator in ("add", "sub"):
        text = _within(operands[0], SUM)
        for term in [operands[1]] if operator == "sub" else chain("add", operands[1]):
            own = _within(term, PRODUCT if operator == "sub" else SUM)
            if operator == "sub":
                text += f" - {own}"
            else:
                text += f" - {own[1:]}" if own.startswith("-") else f" + {own}"
        return text, SUM
    if operator in ("mul", "div", "inv"):
        return _product(tree)
    if operator == "pow":
        if (value := rational(operands[1])) is not None and value < 0:
            return _product(tree)
        return f"{_within(operands[0], ATOM)}^{_within(operands[1], ATOM)}", POWER
    if operator in algebra.SHORTHANDS:
        return f"{_within(operands[0], ATOM)}^{algebra.SHORTHANDS[operator]}", POWER
    return f"{operator}({_text(operands[0])[0]})", ATOM


def _within(tree: Tree, least: int) -> str:
    text, holds = _text(tree)
    return text if holds >= least else f"({text})"


def _product(tree: Tree) -> tuple[str, int]:
    """A fraction: powers below 0 and denominators stand under the line."""
    value, above, below = factors_of(tree)
    sign, value = ("-" if value < 0 else ""), abs(value)
    upper = [str(value.numerator)] if value.numerator != 1 or not above else []
    upper += [_within(factor, POWER) for factor in above]
    lower = [str(value.denominator)] if value.denominator != 1 else []
    lower += [_within(factor, POWER) for factor in below]
    text = sign + "*".join(upper)
    if lower:
        text += f"/({'*'.join(lower)})" if len(lower) > 1 else f"/{lower[0]}"
    return text, SUM if sign else PRODUCT


latex = latex_writer.write
