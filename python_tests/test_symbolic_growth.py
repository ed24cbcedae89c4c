"""Numbers that would explode are refused at once, and nothing that a model can write takes long."""

import contextlib
import math
import random
import time

import numpy as np
import pytest

from mathkernels.data.symbolic import algebra, infix, prefix
from mathkernels.data.symbolic.algebra import OutsideLanguageError, TooLargeError, tree_of
from mathkernels.data.symbolic.growth import MOST_BITS, MOST_NESTED, size
from mathkernels.data.symbolic.language import (
    COEFFICIENTS,
    DIGITS,
    END,
    MINUS,
    PLUS,
    PROBLEM,
    VARIABLES,
    WORDS,
    Grammar,
)
from mathkernels.data.symbolic.trees import Sampler
from mathkernels.studies.integration.verification import Verdict, Verifier

SYMENGINE, SYMPY, VERIFIER = algebra.symengine_algebra(), algebra.sympy_algebra(), Verifier()
SECONDS = 5.0  # of a busy machine, for what takes milliseconds on an idle one

EXPLODING = [
    "9^9^9^9",
    "(2*x)^(10^9)",
    "(x/3)^(-10^9)",
    "(2/3)^(10^9)",
    "2^(10^9/7)",
    "sqrt(2*x)^(10^9)",
    "(4*x + 2)^(10^9)",
    "2^x*2^(10^9 - x)",
    "2^(10^9*x)/2^(10^9*x - 10^9)",
    "exp(10^9*ln(2))",
    "exp(x + 10^9*ln(2*x))",
    "E^(10^9*ln(2))",
    "exp(10^9*ln(2)/3)",
    "exp(x*(10^9*ln(2)/x))",
    "exp(ln(2)/(1/10^9))",
    "(5^5)^(5^(5^5))",
    "sin(7^7^7^7)",
    "(10^10)^((10^10)^10)",
    "(1 - 3/4)^(2^60)",
    "exp(10^9*sqrt(ln(2)^2))",
]


def tower(word, times, leaf):
    for _ in range(times):
        leaf = (word, leaf)
    return leaf


@pytest.mark.parametrize("package", [SYMENGINE, SYMPY], ids=["symengine", "sympy"])
@pytest.mark.parametrize(
    "tree",
    [*map(infix.read, EXPLODING), tower("pow5", 12, 2), tower("pow5", 40, ("mul", 3, "x"))],
    ids=[*EXPLODING, "tower of 2", "tower of 3x"],
)
def test_a_number_that_would_explode_is_refused_at_once(package, tree):
    began = time.perf_counter()
    with pytest.raises(TooLargeError, match="more than 14,000 bits"):
        package.expression(tree)
    for answer in (tree, ("add", tree, ("div", "x", 2))):
        assert VERIFIER.check("x", answer) is Verdict.UNDECIDED
    assert time.perf_counter() - began < SECONDS


@pytest.mark.parametrize(
    "equation",
    [
        *("x^(10^9)", "x^(10^9)*2", "(-1)^(10^9)*x", "1^(10^9)", "E^(10^9)", "exp(10^9*x)", "exp(x*ln(x))"),
        *("pi^(9^9)", "(x + 1)^1000", "2^1000*x", "exp(9*ln(2*x))", "x^x^x^x", "1/3^1000"),
    ],
)
def test_what_does_not_explode_is_not_refused(equation):
    for package in (SYMENGINE, SYMPY):
        package.expression(infix.read(equation))


def test_no_random_tree_of_the_generators_is_refused():
    source, sampler = random.Random(0), Sampler(negative=True, most_integer=9)
    assert max(size(sampler.draw(source.randint(1, 15), source)).bits for _ in range(2000)) < MOST_BITS / 4


def test_the_estimate_bounds_the_numbers_that_symengine_computes():
    source = random.Random(5)
    sampler = Sampler({"add": 4, "mul": 4, "div": 3, "pow": 4, "pow3": 1, "sqrt": 1}, 6, 0.6, True)
    compared = 0
    for _ in range(3000):
        tree = sampler.draw(source.randint(1, 8), source)
        if size(tree).bits > MOST_BITS:
            continue
        expression = SYMENGINE.expression(tree)
        numbers = expression.atoms(SYMENGINE.module.Rational)
        bits = [math.log2(max(abs(int(n.p)), int(n.q))) for n in numbers]
        most = size(tree).bits + 3 * prefix.operators(tree)  # exponents of x, 1 each, come together
        assert max(bits, default=0) <= most, infix.write(tree)
        compared += len(bits)
    assert compared > 1000


@pytest.mark.parametrize("nested", [MOST_NESTED - 1, MOST_NESTED + 1, 500])
def test_operators_that_are_nested_too_deep_are_refused(nested):
    tree = tower("sin", nested, "x")
    if nested < MOST_NESTED:
        assert tree_of(SYMENGINE.expression(tree)) == tree
    else:
        with pytest.raises(TooLargeError, match="nested more than 200 deep"):
            SYMENGINE.expression(tree)
    for broken in (tree, ("abs", tree)):
        assert VERIFIER.check("x", broken) is Verdict.UNDECIDED
        assert nested < MOST_NESTED or VERIFIER.check(broken, "x") is Verdict.UNDECIDED


def test_a_number_of_a_result_that_is_too_long_to_be_written_is_refused():
    factor = SYMENGINE.module.Integer(3) ** (MOST_BITS // 3)
    with pytest.raises(TooLargeError, match="a number has more than 14,000 bits"):
        tree_of(SYMENGINE.leaves["x"] + factor * factor)


@pytest.mark.parametrize("equation", ["sqrt(-x)", "(-x)^x", "sqrt(sqrt(-2*x))", "(-pi)^x", "((-sin(x))^x)^x"])
def test_a_sign_for_which_symengine_looks_for_ever_is_written_down(equation):
    tree = ("sign", infix.read(equation))
    assert str(SYMENGINE.expression(tree)).startswith("sign(")


FREQUENT = [
    {},
    {**dict.fromkeys(DIGITS, 6), "pow": 8, PLUS: 8, MINUS: 3},
    {**dict.fromkeys(DIGITS, 3), "pow": 8, "exp": 4, "mul": 4, PLUS: 8, "ln": 6, "x": 4},
    {"x": 20, "pow5": 8, "pow4": 4, "pow": 4, "div": 4, PLUS: 4},
]


def written_by_the_grammar(source, frequent):
    """A sentence of at most 60 words, each drawn from those allowed."""
    grammar = Grammar(WORDS, (*PROBLEM, *VARIABLES[1:], *COEFFICIENTS))
    states, found, most = grammar.start(1), [], source.randint(3, 60)
    weights = np.array([frequent.get(word, 1) for word in WORDS], float)
    while True:
        (one,) = source.choices(range(len(WORDS)), weights * grammar.allowed(states, most - len(found))[0])
        if WORDS[one] == END:
            return found
        found.append(WORDS[one])
        states = grammar.step(states, np.array([one]))


@pytest.mark.parametrize("kind", range(len(FREQUENT)))
def test_nothing_that_the_grammar_writes_takes_long(kind):
    source, problem, verdicts = random.Random(kind), "x", []
    for _ in range(120):
        sentence = written_by_the_grammar(source, FREQUENT[kind])
        tree, began = prefix.tree(sentence), time.perf_counter()
        infix.read(infix.write(tree))
        for work in (lambda t: tree_of(SYMENGINE.expression(t)), size):
            with contextlib.suppress(OutsideLanguageError, RuntimeError):
                work(tree)
        verdicts += [VERIFIER.check(problem, tree), VERIFIER.check(tree, problem), VERIFIER.check(tree, tree)]
        assert time.perf_counter() - began < SECONDS, " ".join(sentence)
        problem = tree
    assert {*verdicts} >= {Verdict.WRONG, Verdict.UNDECIDED}
