"""Problems of textbooks: read without guessing, counted, known answers right; what sympy makes of them."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mathkernels.data.symbolic import algebra, infix
from mathkernels.data.symbolic.algebra import tree_of
from mathkernels.studies.integration import textbooks
from mathkernels.studies.integration.textbooks import FOREIGN, PARAMETER, SYNTAX, UNSOLVED
from mathkernels.studies.integration.verification import Verdict, Verifier

ROOT = Path(__file__).resolve().parent.parent
SYMENGINE, VERIFIER = algebra.symengine_algebra(), Verifier()


def canonical(text):
    return tree_of(SYMENGINE.expression(infix.read(text)))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("-x^2", "-(x^2)"),
        ("E^x^2/2", "exp(x^2)/2"),
        ("x^-2*3", "3/x^2"),
        ("2^(2/3)*x", "2^(2/3)*x"),
        ("1/x/2", "1/(2*x)"),
        ("-(1/(4*(2 + 2*x + x^2)^2))", "-1/(4*(2 + 2*x + x^2)^2)"),
        ("x - 3 - 4*x", "-3*x - 3"),
        ("Log[Sqrt[x]]*Pi", "pi*ln(sqrt(x))"),
        ("ArcTan[x] + ArcCot[x]*ArcTanh[x]", "atan(x) + acot(x)*atanh(x)"),
        ("Csch[x]*ArcSech[x]*ArcSinh[Cos[x]]", "csch(x)*asech(x)*asinh(cos(x))"),
        ("(-I)*0 + x", "x"),
    ],
)
def test_an_expression_is_read_as_mathematica_does(written, meant):
    book = textbooks.read(f"{{{written}, x, 1, x}}", "a")
    if "I" in written:
        assert [one.reason for one in book.left] == [FOREIGN]
    else:
        assert [one.problem for one in book.problems] == [canonical(meant)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{a*x, x, 1, a*x^2/2}", PARAMETER),
        ("{1, x, 1, x + c}", PARAMETER),
        ("{f[x], x, 1, x}", FOREIGN),
        ("{Log[2, x], x, 1, x}", FOREIGN),
        ("{1/(x - x), x, 1, x}", FOREIGN),
        ("{E^x/x, x, 1, ExpIntegralEi[x]}", UNSOLVED),
        ("{x, x, 1, PolyLog[2, x]}", UNSOLVED),
        ("{x, x, 1}", SYNTAX),
        ("{x, 2, 1, x}", SYNTAX),
        ("{x, x, 1, x} x", SYNTAX),
        ("{2 x, x, 1, x^2}", SYNTAX),
        ("{x, x, 1, x^2/2", SYNTAX),
        ("{x^, x, 1, x^2/2}", SYNTAX),
        ("{__import__['os'], x, 1, x}", SYNTAX),
        ("x", SYNTAX),
        ("{" + "(" * 3000 + "x, x, 1, x}", SYNTAX),
    ],
)
def test_what_is_no_problem_of_ours_is_counted_by_its_reason(line, reason):
    book = textbooks.read(f"{{x, x, 1, x^2/2}}\n{line}\n", "a")
    assert book.problems == [("a 1", "x", canonical("x^2/2"))]
    assert [(one.name, one.reason, one.text) for one in book.left] == [("a 2", reason, line)]
    assert book.counts()[reason] == 1


def test_comments_are_left_out_and_the_variable_becomes_x():
    text = "(* a (* nested *)\n {y, y, 1, y} *)\n{t*Sin[t], t, 2, Sin[t] - t*Cos[t]} (* {x, x, 1, x} *)\n"
    book = textbooks.read(text, "a")
    assert book.problems == [("a 3", canonical("x*sin(x)"), canonical("sin(x) - x*cos(x)"))]
    assert not book.left


def test_the_textbooks_are_complete_and_every_known_answer_is_right():
    books = textbooks.books()
    counts = {name: (len(book.problems), *book.counts().values()) for name, book in books.items()}
    assert counts == {
        "Apostol": (144, 18, 0, 13, 0),
        "Moses": (87, 19, 0, 5, 2),
        "Stewart": (363, 13, 0, 0, 0),
    }
    for book in books.values():
        for one in book.problems:
            assert tree_of(SYMENGINE.expression(one.problem)) == one.problem
            assert VERIFIER.check(one.problem, one.answer) is Verdict.RIGHT, one.name
            assert VERIFIER.check(one.problem, ("add", one.answer, ("div", "x", 7))) is Verdict.WRONG, (
                one.name
            )


def stuck(problem):
    if problem == "x":
        return ("pow", "x", 2)  # wrong
    time.sleep(60 if problem == "pi" else 0)
    return None


def test_what_sympy_solves_is_judged():
    problems = [infix.read(text) for text in ("x*cos(x)", "exp(x)/x", "1/x", "x^x")]
    assert textbooks.sympy_solves(problems, 60, 2) == ["right", "none", "right", "none"]


def test_wrong_integrals_and_time_outs_are_told_apart(monkeypatch):
    monkeypatch.setattr(textbooks, "_integrated", stuck)
    seen = []
    found = textbooks.sympy_solves(["x", "pi", "E"], 1, 2, progress=lambda done, of: seen.append((done, of)))
    assert found == ["wrong", "timeout", "none"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_script_counts():
    command = [sys.executable, str(ROOT / "examples/generate_symbolic.py"), "--textbooks"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert found[1] == (
        "Moses: 87 problems, 87 known answers right; left out: 19 parameter, 5 no closed form, 2 syntax"
    )
    assert len(found) == 3
