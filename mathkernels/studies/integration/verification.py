"""Whether an answer's derivative is the problem: a proof that it is not, or agreement to thirty digits.

F' - f is evaluated as a ball of complex numbers, which holds the exact value, at random points, with 128
bits and more up to 1,024. A ball without 0 proves the answer wrong. If all hold 0 and the last are tiny
beside the problem's value, it is right to that confidence; otherwise the question is left open, or to sympy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from mathkernels.data.symbolic import algebra
from mathkernels.data.symbolic.algebra import OutsideLanguageError, TooLargeError
from mathkernels.data.symbolic.growth import MOST_NESTED, depth
from mathkernels.data.symbolic.language import Tree
from mathkernels.data.symbolic.prefix import words
from mathkernels.studies.integration.second_opinion import SecondOpinion

PRECISIONS: Final = (128, 256, 512, 1024)  # bits
TINY: Final = 1e-30  # radius of a ball beside the problem's value, or beside 1 where that may be 0
POINTS: Final = 5
MOST_TRIES: Final = 60  # points of which these are found; others lie outside the domain
BROKEN: Final = frozenset({"abs", "sign"})  # functions whose pieces are checked each for itself


class Verdict(Enum):
    """What is known of an answer."""

    RIGHT = "right"
    WRONG = "wrong"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Counts:
    """Verdicts of many answers, under both published conventions for what is undecided."""

    right: int = 0
    wrong: int = 0
    undecided: int = 0

    def __add__(self, verdict: Verdict) -> Counts:
        own = {one.value: getattr(self, one.value) + (one is verdict) for one in Verdict}
        return Counts(**own)

    @property
    def of(self) -> int:
        return self.right + self.wrong + self.undecided

    @property
    def share(self) -> float:
        """Of answers that are right; what is undecided counts as wrong."""
        return self.right / max(self.of, 1)

    @property
    def share_at_most(self) -> float:
        """The same; what is undecided counts as right."""
        return (self.right + self.undecided) / max(self.of, 1)


class Verifier:
    """Checks answers.

    Args:
        second_opinion: is asked where balls leave it open; None: it stays open.

    Raises:
        ImportError: symengine or python-flint is not installed.
    """

    def __init__(self, second_opinion: SecondOpinion | None = None) -> None:
        try:
            import flint
        except ImportError as error:
            raise ImportError(
                f"python-flint is missing ({error}): pip install mathkernels[symbolic]"
            ) from error
        self.flint, self.second_opinion = flint, second_opinion
        self.engine = algebra.symengine_algebra()
        self.functions = _functions(flint.acb)

    def check(self, problem: Tree, answer: Tree, seed: int = 0) -> Verdict:
        """The verdict on ``answer`` as an integral of ``problem``.

        Real points decide, where the problem is real: an answer is right if it holds on one side of 0, as
        arcsec does, or on both where an absolute value or a sign stands. Where it is real nowhere, complex
        points with a positive real part decide; elsewhere they do not, since there other branches of roots
        and logarithms look wrong: ln(x^10) / ln(x) is 10 for x > 0 alone.

        Args:
            seed: of the points.
        """
        if max(depth(problem), depth(answer)) > MOST_NESTED:
            return Verdict.UNDECIDED
        pieces = bool(BROKEN & {*words(problem), *words(answer)})
        smooth = _without_pieces(answer) if pieces else answer
        found = self._by_balls(problem, answer, smooth, pieces, seed)
        if found is Verdict.UNDECIDED and self.second_opinion is not None:
            plain = _without_pieces(problem) if pieces else problem
            return Verdict.RIGHT if self.second_opinion.shows(plain, smooth) else found
        return found

    def _by_balls(self, problem: Tree, answer: Tree, smooth: Tree, pieces: bool, seed: int) -> Verdict:
        try:
            derivative = algebra.tree_of(self.engine.expression(smooth).diff(self.engine.leaves["x"]))
        except TooLargeError:
            return Verdict.UNDECIDED
        except (OutsideLanguageError, RuntimeError):
            return Verdict.WRONG if not _is_finite(self.engine, answer) else Verdict.UNDECIDED
        source, program = random.Random(seed), _Program(self.flint.acb, self.functions, (problem, derivative))
        sides = [self._agree(program, _real_points(source, sign), only_real=True) for sign in (1, -1)]
        known = {*sides} - {Verdict.UNDECIDED}
        real = Verdict.UNDECIDED
        if known:
            holds = Verdict.WRONG not in known if pieces else Verdict.RIGHT in known
            real = Verdict.RIGHT if holds else Verdict.WRONG
        if pieces or known:
            return real
        found = self._agree(program, _complex_points(source), only_real=False)
        return Verdict.WRONG if found is None else found

    def _agree(self, program: _Program, points: Iterator[complex], only_real: bool) -> Any:
        """Verdict; None where some points prove it wrong and others do not."""
        taken = excluded = open_questions = 0
        for _ in range(MOST_TRIES):
            if taken == POINTS:
                break
            holds = self._holds(program, next(points), only_real)
            if holds is _OUTSIDE:
                continue
            taken += 1
            excluded += holds is False
            open_questions += holds is None
        if taken == 0:
            return Verdict.UNDECIDED
        if excluded:
            return Verdict.WRONG if only_real or excluded == taken else None
        return Verdict.UNDECIDED if open_questions else Verdict.RIGHT

    def _holds(self, program: _Program, point: complex, only_real: bool) -> Any:
        """False if the ball is without 0, True if it is tiny around 0, None if neither; or _OUTSIDE."""
        flint = self.flint
        before, found = flint.ctx.prec, _OUTSIDE
        try:
            for precision in PRECISIONS:
                flint.ctx.prec = precision
                x = flint.acb(flint.arb(point.real), flint.arb(point.imag))
                wanted, taken = program.values(x)
                if only_real and not wanted.imag.contains(0):
                    return _OUTSIDE
                if not (wanted.is_finite() and taken.is_finite()):
                    continue
                difference = taken - wanted
                if not difference.contains(0):
                    return False
                scale = flint.arb(1) if wanted.contains(0) else wanted.abs_lower()
                found = True if difference.abs_upper() < TINY * scale else None
            return found
        finally:
            flint.ctx.prec = before


class _Program:
    """Trees as steps, each different subtree once: derivatives repeat most of theirs.

    Args:
        acb: the type of balls.
        functions: word -> of balls.
        trees: whose values are wanted.
    """

    def __init__(self, acb: Any, functions: Mapping[str, Callable[..., Any]], trees: Iterable[Tree]) -> None:
        self.acb, self.functions = acb, functions
        self.steps: list[tuple[Any, ...]] = []
        self._places: dict[tuple[Any, ...], int] = {}
        self.ends = [self._place(tree) for tree in trees]

    def _place(self, tree: Tree) -> int:
        step = (tree[0], *map(self._place, tree[1:])) if isinstance(tree, tuple) else (tree,)
        found = self._places.setdefault(step, len(self.steps))
        if found == len(self.steps):
            self.steps.append(step)
        return found

    def values(self, x: Any) -> list[Any]:
        """The balls of the trees at a ball."""
        found: list[Any] = []
        leaves = {"x": lambda: x, "pi": self.acb.pi, "E": lambda: self.acb(1).exp()}
        for word, *operands in self.steps:
            if operands:
                found.append(self.functions[word](*[found[one] for one in operands]))
            else:
                found.append(self.acb(word) if isinstance(word, int) else leaves[word]())
        return [found[end] for end in self.ends]


def _without_pieces(tree: Tree) -> Tree:
    """The same at real numbers: |u| = sqrt(u^2), sign u = u / sqrt(u^2), of which there are derivatives."""
    if not isinstance(tree, tuple):
        return tree
    operands = [_without_pieces(operand) for operand in tree[1:]]
    if tree[0] not in BROKEN:
        return (tree[0], *operands)
    root = ("sqrt", ("pow", operands[0], 2))
    return root if tree[0] == "abs" else ("div", operands[0], root)


class _Outside:
    pass


_OUTSIDE: Final = _Outside()


def _is_finite(engine: Any, tree: Tree) -> bool:
    try:
        algebra.tree_of(engine.expression(tree))
    except (OutsideLanguageError, RuntimeError):
        return False
    return True


def _complex_points(source: random.Random) -> Iterator[complex]:
    while True:
        yield complex(source.uniform(0.05, 3), source.choice((-1, 1)) * source.uniform(0.05, 2))


def _real_points(source: random.Random, sign: int) -> Iterator[complex]:
    while True:
        yield complex(sign * source.uniform(0.05, 3), 0)


def _functions(acb: Any) -> dict[str, Callable[..., Any]]:
    def of_inverse(name: str) -> Callable[[Any], Any]:
        return lambda z: getattr(1 / z, name)()

    found: dict[str, Callable[..., Any]] = {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "pow": lambda a, b: a**b,
        "inv": lambda a: 1 / a,
        "ln": lambda a: a.log(),
        "abs": lambda a: acb(abs(a)),
        "sign": lambda a: a.sgn(),
    }
    for power in (2, 3, 4, 5):
        found[f"pow{power}"] = lambda a, power=power: a**power
    for name in ("sqrt", "exp", "sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan"):
        found[name] = lambda a, name=name: getattr(a, name)()
    for name in ("sinh", "cosh", "tanh", "coth", "sech", "csch", "asinh", "acosh", "atanh"):
        found[name] = lambda a, name=name: getattr(a, name)()
    for name, inverse in (("acot", "atan"), ("asec", "acos"), ("acsc", "asin")):
        found[name], found[f"{name}h"] = of_inverse(inverse), of_inverse(f"{inverse}h")
    return found
