"""Pairs of a problem and its answer, one after another: differentiated, integrated by sympy, or by parts.

Source: arXiv:1912.01412, section 4: backward (BWD), forward (FWD), backward with integration by parts
(IBP). A problem is the function f of ``Y' - f = 0``, its answer a function F with F' = f, without an
additive constant. Both are in the canonical form of `algebra.tree_of`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from mathkernels.data import ranges
from mathkernels.data.symbolic import algebra, prefix
from mathkernels.data.symbolic.algebra import OutsideLanguageError
from mathkernels.data.symbolic.language import Tree
from mathkernels.data.symbolic.probes import MOST_NESTED, is_defined, nested_growth
from mathkernels.data.symbolic.trees import MOST_OPERATORS, Sampler, has_variable

METHODS: Final = ("bwd", "fwd", "ibp")
CONSTANT, UNDEFINED, UNSOLVED, FAILED, TOO_LONG, TOO_SLOW, FOREIGN = (
    "constant",
    "defined nowhere",
    "not integrated",
    "failed in sympy",
    "too long",
    "too slow",
    "outside the language",
)
REASONS: Final[tuple[str, ...]] = (CONSTANT, UNDEFINED, UNSOLVED, FAILED, TOO_LONG, TOO_SLOW, FOREIGN)
FEW = 3  # a share of problems has at most so many operators,
SHARE_OF_FEW = 1 / 40  # this one


class Dropped(Exception):
    """A draw gave no pair; the text is the reason, for a count."""


@dataclass(frozen=True)
class Pairs:
    """Draws pairs by one method.

    Args:
        method: "bwd", "fwd" or "ibp".
        most_operators: of the random trees.
        most_words: of a problem, and of an answer.
        sampler: of the trees.
        simplify: probability that a derivative is simplified by sympy, which takes a hundred times as long as
            the rest; 0.5 in the published generator.
    """

    method: str = "bwd"
    most_operators: int = 15
    most_words: int = 510
    sampler: Sampler = field(default_factory=Sampler)
    simplify: float = 0.0

    def __post_init__(self) -> None:
        ranges.require(self.method in METHODS, "method", self.method, f"one of {', '.join(METHODS)}")
        ranges.whole("most_operators", self.most_operators, 1, MOST_OPERATORS)
        ranges.whole("most_words", self.most_words, 2, 100_000)
        ranges.require(0 <= self.simplify <= 1, "simplify", self.simplify, "a probability")

    def drawer(self) -> Callable[[random.Random], tuple[Tree, Tree]]:
        """A function from a source of random numbers to (problem, answer).

        By parts it remembers what it has integrated, so that its pairs depend on those before.

        Raises:
            ImportError: symengine or, for "fwd" and `simplify`, sympy is missing.
            Dropped: by the function; the draw gave no pair.
        """
        return {"bwd": _Backward, "fwd": _Forward, "ibp": _ByParts}[self.method](self).draw


class _Drawer:
    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.engine = algebra.symengine_algebra()
        self.x = self.engine.leaves["x"]
        self.sympy = algebra.sympy_algebra() if pairs.method == "fwd" or pairs.simplify else None

    def tree(self, source: random.Random) -> Tree:
        """A random tree; a small share has few operators."""
        most = self.pairs.most_operators
        few = min(FEW, most)
        if most <= FEW or source.random() < SHARE_OF_FEW:
            return self.pairs.sampler.draw(source.randint(0, few), source)
        return self.pairs.sampler.draw(source.randint(few + 1, most), source)

    def function(self, source: random.Random) -> Any:
        """A random expression that is not constant, without an additive constant."""
        tree = self.tree(source)
        if not has_variable(tree):
            raise Dropped(CONSTANT)
        expression = self.without_constant(self.engine.expression(tree))
        if not expression.free_symbols:
            raise Dropped(CONSTANT)
        return expression

    def without_constant(self, expression: Any) -> Any:
        if type(expression).__name__ != "Add":
            return expression
        return self.engine.module.Add(*(part for part in expression.args if part.free_symbols))

    def simplified(self, problem: Tree) -> Tree:
        """What sympy makes of a problem, again in canonical form."""
        assert self.sympy is not None
        return self.canonical(algebra.tree_of(self.sympy.module.simplify(self.sympy.expression(problem))))

    def canonical(self, tree: Tree) -> Tree:
        return algebra.tree_of(self.engine.expression(tree))

    def checked(self, problem: Tree, answer: Tree) -> tuple[Tree, Tree]:
        for tree in (problem, answer):
            if nested_growth(tree) > MOST_NESTED or not is_defined(tree):
                raise Dropped(UNDEFINED)
            if len(prefix.words(tree)) > self.pairs.most_words:
                raise Dropped(TOO_LONG)
        return problem, answer

    def draw(self, source: random.Random) -> tuple[Tree, Tree]:
        try:
            return self.checked(*self.pair(source))
        except OutsideLanguageError:
            raise Dropped(FOREIGN) from None
        except (RuntimeError, ZeroDivisionError) as error:  # symengine's: a function of infinity
            raise Dropped(FOREIGN) from error

    def pair(self, source: random.Random) -> tuple[Tree, Tree]:
        raise NotImplementedError


class _Backward(_Drawer):
    def pair(self, source: random.Random) -> tuple[Tree, Tree]:
        answer = self.function(source)
        problem = algebra.tree_of(answer.diff(self.x))
        if self.pairs.simplify and source.random() < self.pairs.simplify:
            problem = self.simplified(problem)
        return problem, algebra.tree_of(answer)


class _Forward(_Drawer):
    def pair(self, source: random.Random) -> tuple[Tree, Tree]:
        assert self.sympy is not None
        tree = self.tree(source)
        if not has_variable(tree):
            raise Dropped(CONSTANT)
        expression = self.engine.expression(tree)
        if source.random() < 0.5:
            expression = self.without_constant(expression)
        problem = algebra.tree_of(expression)
        if not has_variable(problem) or 2 * prefix.operators(problem) < prefix.operators(tree):
            raise Dropped(CONSTANT)
        if not is_defined(problem):
            raise Dropped(UNDEFINED)
        sympy = self.sympy.module
        try:
            found = sympy.integrate(self.sympy.expression(problem), self.sympy.leaves["x"], risch=True)
        except Exception as error:  # counted: sympy raises all kinds where it has no rule
            raise Dropped(FAILED) from error
        if found.has(sympy.Integral):
            raise Dropped(UNSOLVED)
        answer = self.engine.expression(algebra.tree_of(found))
        return problem, algebra.tree_of(self.without_constant(answer))


class _ByParts(_Drawer):
    """Integrates F g where the integral of f G is known, f and g being the derivatives of F and G."""

    MOST_OF_SECOND = 4  # operators of G
    FUNCTIONS = 400  # small functions with their derivatives that are known before the first draw

    def __init__(self, pairs: Pairs) -> None:
        super().__init__(pairs)
        self.known: dict[Any, Any] = {}  # function without its factor -> integral
        self.second: list[tuple[Any, Any]] = []  # (G, g)

    def fill(self, source: random.Random) -> None:
        small = Pairs("bwd", min(self.MOST_OF_SECOND, self.pairs.most_operators), sampler=self.pairs.sampler)
        drawer = _Backward(small)
        while len(self.second) < self.FUNCTIONS:
            try:
                function = drawer.function(source)
                algebra.tree_of(function)
            except (Dropped, OutsideLanguageError):
                continue
            derivative = function.diff(self.x)
            self.second.append((function, derivative))
            self.remember(derivative, function)

    def remember(self, function: Any, integral: Any) -> None:
        factor, rest = self.split(function)
        found = integral / factor
        held = self.known.get(rest)
        if held is None or len(str(found)) < len(str(held)):
            self.known[rest] = found

    def look_up(self, function: Any) -> Any:
        """Its integral, None if it is not known."""
        if not function.free_symbols:
            return function * self.x
        factor, rest = self.split(function)
        found = self.known.get(rest)
        return None if found is None else factor * found

    def split(self, function: Any) -> tuple[Any, Any]:
        """A rational factor and what is left."""
        if type(function).__name__ == "Mul" and function.args[0].is_Rational:
            return function.args[0], function / function.args[0]
        return self.engine.module.Integer(1), function

    def pair(self, source: random.Random) -> tuple[Tree, Tree]:
        if not self.second:
            self.fill(source)
        first = self.function(source)
        derivative = first.diff(self.x)
        self.remember(derivative, first)
        for _ in range(20):
            second, its_derivative = self.second[int(source.random() * len(self.second))]
            products = derivative * second, first * its_derivative  # whose sum has the integral F G
            for known, wanted in (products, products[::-1]):
                integral = self.look_up(known)
                if integral is None or self.look_up(wanted) is not None:
                    continue
                answer = self.without_constant(first * second - integral)
                self.remember(wanted, answer)
                return algebra.tree_of(wanted), algebra.tree_of(answer)
        raise Dropped(UNSOLVED)
