"""The judge of answers: known right and wrong ones, and none of them by luck."""

import random

import pytest

from mathkernels.data.symbolic import infix
from mathkernels.data.symbolic.pairs import Dropped, Pairs
from mathkernels.studies.integration.verification import Counts, Verdict, Verifier

VERIFIER = Verifier()

RIGHT = [
    ("x", "x^2/2"),
    ("x", "x^2/2 + 5"),
    ("1/x", "ln(x)"),
    ("1/x", "ln(-x)"),
    ("1/x", "ln(abs(x))"),
    ("1/(1 + x^2)", "atan(x)"),
    ("1/(1 + x^2)", "-atan(1/x)"),
    ("1/(1 + x^2)", "-acot(x)"),
    ("1/sqrt(x^2 - 1)", "acosh(x)"),
    ("1/sqrt(x^2 - 1)", "ln(x + sqrt(x^2 - 1))"),
    ("1/(x*sqrt(x^2 - 1))", "asec(x)"),
    ("tan(x)", "-ln(cos(x))"),
    ("sin(x)^2 + cos(x)^2", "x"),
    ("x^x*(ln(x) + 1)", "x^x"),
    ("abs(x)", "x*abs(x)/2"),
    ("sign(x)", "abs(x)"),
    ("0", "sin(x)^2 + cos(x)^2"),
    ("1/10^4000", "x/10^4000"),
    ("exp(x^2 + x^8)*(2*x + 8*x^7)", "exp(x^2 + x^8)"),
    ("ln(x^10)/ln(x)", "10*x"),  # for x > 0; elsewhere on other branches
    ("x + ln(exp(27*x))", "14*x^2"),
    ("ln(exp(exp(x)*(3 + x)))", "exp(x)*(2 + x)"),
]
WRONG = [
    ("x", "x^2/3"),
    ("x", "x^2/2 + x/10^40"),
    ("x", "x^2/2 + x/10^200"),
    ("0", "x/10^50"),
    ("1/10^4000", "x/10^4002"),
    ("1/x", "ln(x) + sin(x)/10^30"),
    ("1/(1 + x^2)", "acot(x)"),
    ("abs(x)", "x^2/2"),
    ("sign(x)", "x"),
    ("exp(x^2)", "x"),
    ("x", "1/(x - x)"),
    ("sin(5*cos(x)*20000)", "x + sin(5*cos(x)*20000)"),
    ("x + tan(cos(1))/x", "x^2/2"),  # sympy's own, with risch=True
    ("x/(1/2 + x + x^4)", "0"),
    ("sqrt(-1 - x^2)", "x*sqrt(-1 - x^2)"),  # real nowhere
]


@pytest.mark.parametrize(("problem", "answer"), RIGHT)
def test_a_right_answer_is_right_with_any_points(problem, answer):
    for seed in range(5):
        assert VERIFIER.check(infix.read(problem), infix.read(answer), seed) is Verdict.RIGHT


@pytest.mark.parametrize(("problem", "answer"), WRONG)
def test_a_wrong_answer_is_wrong_with_any_points(problem, answer):
    for seed in range(5):
        assert VERIFIER.check(infix.read(problem), infix.read(answer), seed) is Verdict.WRONG


@pytest.mark.parametrize(("method", "most", "count"), [("bwd", 10, 150), ("ibp", 5, 40), ("fwd", 4, 12)])
def test_drawn_pairs_are_right_and_spoilt_ones_are_wrong(method, most, count):
    draw, source, checked = Pairs(method, most).drawer(), random.Random(1), 0
    while checked < count:
        try:
            problem, answer = draw(source)
        except Dropped:
            continue
        checked += 1
        assert VERIFIER.check(problem, answer) is Verdict.RIGHT, infix.write(problem)
        spoilt = ("add", answer, ("div", "x", 7))
        assert VERIFIER.check(problem, spoilt) is Verdict.WRONG, infix.write(problem)


def test_an_answer_that_has_a_value_nowhere_is_left_open():
    nowhere = infix.read("ln(0*x)")
    assert VERIFIER.check(infix.read("x"), ("add", "x", ("acosh", ("exp", ("exp", ("exp", ("exp", 9)))))))
    assert VERIFIER.check(infix.read("x"), nowhere) in (Verdict.WRONG, Verdict.UNDECIDED)


def test_the_precision_of_others_is_left_as_it_was():
    before = VERIFIER.flint.ctx.prec
    VERIFIER.check(infix.read("x"), infix.read("x^2/2"))
    assert VERIFIER.flint.ctx.prec == before


def test_counts_under_both_conventions():
    counts = Counts()
    for verdict in (Verdict.RIGHT, Verdict.RIGHT, Verdict.WRONG, Verdict.UNDECIDED):
        counts = counts + verdict
    assert counts == Counts(2, 1, 1)
    assert (counts.of, counts.share, counts.share_at_most) == (4, 0.5, 0.75)
