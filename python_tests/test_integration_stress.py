"""The stress suite: every known answer is right, a seed decides it, problems look like training data."""

from collections import Counter

import numpy as np
import pytest

from mathkernels.data.symbolic import algebra, infix, prefix
from mathkernels.data.symbolic.algebra import tree_of
from mathkernels.studies.integration import stress
from mathkernels.studies.integration.stress import FAMILIES, MOST, MOST_POWER, Suite
from mathkernels.studies.integration.verification import Verdict, Verifier

SYMENGINE, VERIFIER = algebra.symengine_algebra(), Verifier()
COUNT = 30


def solved(each=3):
    return [(one.problem, one.answer) for family in FAMILIES for one in Suite(1).singles(family, each)]


def check(case):
    for tree in (case.problem, case.answer):
        assert tree_of(SYMENGINE.expression(tree)) == tree
        assert prefix.tree(prefix.words(tree)) == tree
    assert VERIFIER.check(case.problem, case.answer) is Verdict.RIGHT, case.name
    spoilt = ("add", case.answer, ("mul", ("div", 1, 7), case.answer))
    assert VERIFIER.check(case.problem, spoilt) is Verdict.WRONG, case.name
    assert case.problem == tree_of(SYMENGINE.expression(infix.read(case.name)))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_known_answer_of_a_family_is_right(family):
    cases = list(Suite().singles(family, COUNT))
    assert len({one.problem for one in cases}) == len(cases) == COUNT
    assert {one.family for one in cases} == {family}
    for case in cases:
        check(case)


@pytest.mark.parametrize("terms", [2, 3, 4])
def test_every_known_answer_of_a_sum_is_right(terms):
    cases = list(Suite().sums(solved(), terms, COUNT))
    assert len({one.problem for one in cases}) == COUNT
    assert {one.family for one in cases} == {f"sum of {terms}"}
    for case in cases:
        check(case)


def test_a_sum_is_of_different_problems():
    problems = [(infix.read(f"sin({k}*x)"), infix.read(f"-cos({k}*x)/{k}")) for k in range(2, 7)]
    for case in Suite().sums(problems, 4, 5):
        assert Counter(prefix.words(case.problem))["sin"] == 4


def test_coefficients_are_spread_over_their_logarithms():
    for family, last in (("k*x", MOST), ("x^k", MOST_POWER)):
        powers = [case.name.strip("x*^") for case in Suite(3).singles(family, 30)]
        logs = np.log(np.array(powers, int)) / np.log(last)
        assert logs[-1] <= 1
        assert (np.diff(logs) > 0).all()
        assert (np.abs(logs[10:] - np.arange(10.5, 30) / 30) < 1.5 / 30).all()


def test_a_seed_decides_the_cases():
    for seed in (0, 7):
        cases = [[*Suite(seed).singles("k*sin(l*x)", 9), *Suite(seed).sums(solved(), 3, 5)] for _ in range(2)]
        assert cases[0] == cases[1]
    one, other = ([*Suite(seed).singles("k*sin(l*x)", 9)] for seed in (0, 7))
    assert one != other
    first, second = ([*Suite(seed).sums(solved(), 2, 9)] for seed in (0, 7))
    assert first != second


def test_a_family_has_no_more_cases_than_integers():
    assert [one.name for one in Suite(most=4).singles("k*x", 9)] == ["1*x", "2*x", "3*x", "4*x"]
    assert list(Suite().singles("k*x", 0)) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Suite(most=0), "most: got 0"),
        (lambda: Suite(seed=-1), "seed: got -1"),
        (lambda: [*Suite().singles("k*y", 3)], "family: got 'k\\*y', needs one of k\\*ln"),
        (lambda: [*Suite().sums(solved()[:2], 3, 1)], "solved: got '2 problems', needs at least 3"),
        (lambda: [*Suite().sums(solved(), 5, 1)], "terms: got 5"),
        (lambda: [*Suite().sums(solved()[:3], 2, 9)], "of which 100 sums of 2 were no new ones"),
        (lambda: [*Suite().sums([("x", "x"), (("mul", -1, "x"), "x")], 2, 1)], "needs more"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_families_are_named_as_they_are_written():
    assert FAMILIES[:2] == ("k*ln(l*x)", "k*exp(l*x)")
    assert stress.MOST == 11_000
