"""Problems from textbooks, with known answers: a test that no generator has drawn.

Source: Apostol, Moses and Stewart of the test suite of the Rule-based Integration project (MIT licence), in
Mathematica's syntax: a line is ``{integrand, variable, steps, antiderivative}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from mathkernels.data import symbolic
from mathkernels.data.killable import call_each
from mathkernels.data.symbolic import algebra, infix
from mathkernels.data.symbolic.algebra import OutsideLanguageError
from mathkernels.data.symbolic.language import UNARY, VARIABLES, Tree
from mathkernels.data.symbolic.prefix import SyntaxProblem
from mathkernels.data.symbolic.trees import leaves
from mathkernels.studies.integration.verification import Verdict, Verifier

FOLDER: Final = Path(symbolic.__file__).parent / "textbooks"
BOOKS: Final = ("Apostol", "Moses", "Stewart")
PARAMETER, FOREIGN, UNSOLVED, SYNTAX = (
    "parameter",
    "function outside the language",
    "no closed form",  # an answer with a function that the language lacks
    "syntax",
)
REASONS: Final = (PARAMETER, FOREIGN, UNSOLVED, SYNTAX)
_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z]\w*)|([-+*/^()\[\]{},]))")
_FUNCTIONS: Final = {
    **{name.capitalize(): name for name in UNARY if name.isalpha() and name not in ("inv", "ln")},
    "Log": "ln",
    **{
        f"Arc{name[1:].capitalize()}": name
        for name in UNARY
        if re.fullmatch(r"a(sin|cos|tan|cot|sec|csc)h?", name)
    },
}
_OTHER: Final = "other"  # function, which the language lacks
_CONSTANTS: Final = {"Pi": "pi", "E": "E"}


class _Reader:
    """One line: a list of expressions. Names of variables stay as they are."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, int]] = []
        place = 0
        while place < len(text.rstrip()):
            match = _TOKEN.match(text, place)
            if match is None:
                raise SyntaxProblem(f"character {place + 1}, '{text[place]}', has no meaning here", place)
            self.tokens.append((match[0].strip(), match.start(match.lastindex or 0)))
            place = match.end()
        self.tokens.append(("", len(text)))
        self.at = 0

    @property
    def next(self) -> str:
        return self.tokens[self.at][0]

    def take(self, text: str) -> bool:
        found = self.next == text
        self.at += found
        return found

    def need(self, text: str) -> None:
        if not self.take(text):
            raise self.problem(f"'{text}'")

    def problem(self, expected: str) -> SyntaxProblem:
        token, place = self.tokens[self.at]
        what = f"'{token}' at character {place + 1}" if token else "the end"
        return SyntaxProblem(f"{what} stands where {expected} is expected", place)

    def entry(self) -> list[Tree]:
        """The expressions of the list."""
        self.need("{")
        found = [self.sum()]
        while self.take(","):
            found.append(self.sum())
        self.need("}")
        if self.next:
            raise self.problem("the end")
        return found

    def sum(self) -> Tree:
        terms = [self.product()]
        while self.next in ("+", "-") and self.next:
            minus = self.take("-") or not self.take("+")
            term = self.product()
            terms.append(infix.negative(term) if minus else term)
        return infix.nested("add", terms)

    def product(self) -> Tree:
        factors = [self.signed()]
        while self.next in ("*", "/") and self.next:
            below = self.take("/") or not self.take("*")
            factor = self.signed()
            factors.append(infix.inverse(factor) if below else factor)
        return infix.nested("mul", infix.merged(factors))

    def signed(self) -> Tree:
        if self.take("-"):
            return infix.negative(self.signed())
        return self.power()

    def power(self) -> Tree:
        base = self.atom()
        return infix.power(base, self.signed()) if self.take("^") else base

    def atom(self) -> Tree:
        token = self.next
        if self.take("("):
            found = self.sum()
            self.need(")")
            return found
        if token.isdecimal():
            self.at += 1
            return infix.number(Fraction(token))
        if not token or not token[0].isalpha():
            raise self.problem("an expression")
        self.at += 1
        if not self.take("["):
            return _CONSTANTS.get(token, token)
        operands = [self.sum()]
        while self.take(","):
            operands.append(self.sum())
        self.need("]")
        known = len(operands) == 1 and token in _FUNCTIONS
        return (_FUNCTIONS[token] if known else _OTHER, *operands)


class Problem(NamedTuple):
    """A problem of a textbook, in the canonical form of training data.

    Args:
        name: book and number of the line.
        problem: function of x.
        answer: the known integral.
    """

    name: str
    problem: Tree
    answer: Tree


@dataclass(frozen=True)
class Left:
    """A line that is no problem of ours."""

    name: str
    reason: str
    text: str


@dataclass
class Book:
    """What was read."""

    problems: list[Problem] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many lines were left out for which reason."""
        return {reason: sum(one.reason == reason for one in self.left) for reason in REASONS}


def without_comments(text: str) -> str:
    """The text without ``(* ... *)``, which may be nested; lines stay lines."""
    found, depth, place = [], 0, 0
    while place < len(text):
        if text[place : place + 2] in ("(*", "*)") and (depth or text[place] == "("):
            depth += 1 if text[place] == "(" else -1
            place += 2
            continue
        if not depth or text[place] == "\n":
            found.append(text[place])
        place += 1
    return "".join(found)


def read(text: str, name: str) -> Book:
    """The problems of a file.

    A problem is kept if its one variable, which becomes x, is all that it and its answer depend on, and both
    can be said in the language.

    Args:
        text: of the file.
        name: of the book.
    """
    book = Book()
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        if not line.strip():
            continue
        place = f"{name} {number}"
        try:
            found = _pair(line.strip())
        except (SyntaxProblem, RecursionError):
            found = SYNTAX
        if isinstance(found, str):
            book.left.append(Left(place, found, line.strip()))
        else:
            book.problems.append(Problem(place, *found))
    return book


def _pair(line: str) -> tuple[Tree, Tree] | str:
    """Problem and answer, or why they are left out."""
    entry = _Reader(line).entry()
    if len(entry) < 4:
        raise SyntaxProblem("no list of integrand, variable, steps, antiderivative", 0)
    problem, variable, _, answer = entry[:4]  # there may be other forms of the answer
    if not isinstance(variable, str) or len(variable) != 1:
        raise SyntaxProblem("no variable", 0)
    if (_names(problem) | _names(answer)) - {variable, "pi", "E", "I"}:
        return PARAMETER
    if _has_other(problem):
        return FOREIGN
    if _has_other(answer):
        return UNSOLVED
    try:
        return _canonical(_renamed(problem, variable)), _canonical(_renamed(answer, variable))
    except (OutsideLanguageError, RuntimeError):
        return FOREIGN


def _names(tree: Tree) -> set[str]:
    return {leaf for leaf in leaves(tree) if isinstance(leaf, str)}


def _has_other(tree: Tree) -> bool:
    return isinstance(tree, tuple) and (tree[0] == _OTHER or any(map(_has_other, tree[1:])))


def _renamed(tree: Tree, variable: str) -> Tree:
    if isinstance(tree, tuple):
        return (tree[0], *(_renamed(operand, variable) for operand in tree[1:]))
    return VARIABLES[0] if tree == variable else tree


@cache
def _symengine() -> Any:
    return algebra.symengine_algebra()


def _canonical(tree: Tree) -> Tree:
    return algebra.tree_of(_symengine().expression(tree))


def books(names: Sequence[str] = BOOKS) -> dict[str, Book]:
    """The textbooks that come with the package, by name.

    Raises:
        ImportError: symengine is not installed.
    """
    _symengine()
    return {name: read((FOLDER / f"{name}.m").read_text(encoding="utf-8"), name) for name in names}


@cache
def _sympy() -> Any:
    return algebra.sympy_algebra()


def _integrated(problem: Tree) -> Tree | None:
    """sympy's integral; None if it finds none in the language."""
    sympy = _sympy()
    found = sympy.module.integrate(sympy.expression(problem), sympy.leaves["x"])
    try:
        return algebra.tree_of(found)
    except OutsideLanguageError:
        return None


SOLVED: Final = (*(one.value for one in Verdict), "none", "timeout")


def sympy_solves(
    problems: Sequence[Tree],
    seconds: float,
    workers: int = 1,
    verifier: Verifier | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[str]:
    """What sympy's integrals are worth, judged as a model's answers are.

    Args:
        problems: functions of x.
        seconds: for each; the process is killed then. It starts with sympy imported.
        workers: processes.
        verifier: that judges.
        progress: called with problems done, and all.

    Returns:
        For each "right", "wrong" or "undecided"; "none" where sympy finds no integral in the language, or
        raises; "timeout".
    """
    judge, found = verifier or Verifier(), [""] * len(problems)
    done = call_each(_integrated, problems, seconds, workers, _sympy)
    for count, (number, answer) in enumerate(done, 1):
        if isinstance(answer, TimeoutError):
            found[number] = "timeout"
        elif answer is None or isinstance(answer, Exception):
            found[number] = "none"
        else:
            found[number] = judge.check(problems[number], answer).value
        progress(count, len(problems))
    return found
