"""sympy decides what balls leave open, in a process that is killed in time and ends with its owner."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mathkernels.data import killable
from mathkernels.data.killable import Killable, call_each
from mathkernels.data.symbolic import algebra, infix
from mathkernels.studies.integration import verification
from mathkernels.studies.integration.second_opinion import SecondOpinion, is_shown
from mathkernels.studies.integration.verification import Verdict, Verifier

OVERFLOWING = "exp(exp(exp(exp(exp(abs(x) + 9)))))"


def derivative(text):
    engine = algebra.symengine_algebra()
    smooth = verification._without_pieces(infix.read(text))
    return algebra.tree_of(engine.expression(smooth).diff(engine.leaves["x"]))


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def ended(process, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not is_alive(process):
            return True
        time.sleep(0.05)
    return False


def slow(argument):
    if argument < 0:
        os._exit(7)
    if argument == 0:
        raise ValueError("got 0")
    time.sleep(argument)
    return os.getpid()


def busy_in_c(argument):
    """Does not come back to the interpreter for minutes."""
    return pow(7, argument) % 2


def test_sympy_decides_what_balls_leave_open():
    problem, answer = derivative(OVERFLOWING), infix.read(OVERFLOWING)
    opinion = SecondOpinion(60)
    assert Verifier().check(problem, answer) is Verdict.UNDECIDED
    assert Verifier(opinion).check(problem, answer) is Verdict.RIGHT
    assert Verifier(opinion).check(problem, ("mul", 3, answer)) is Verdict.UNDECIDED
    assert Verifier(opinion).check("x", ("pow", "x", 2)) is Verdict.WRONG  # by balls: not asked
    assert (opinion.asked, opinion.shown, opinion.failed) == (2, 1, 0)
    opinion.close()


@pytest.mark.parametrize(
    ("problem", "answer", "shown"),
    [
        ("x", "x^2/2", True),
        ("x", "x^2/3", False),
        ("sin(x)^2 + cos(x)^2", "x", True),
        ("sinh(x)^2 - cosh(x)^2", "-x", True),
        ("(x + 1)^2 - x^2 - 2*x", "x", True),
        ("1/cosh(x)", "2*atan(exp(x))", True),
        ("1/cosh(x)", "atan(exp(x))", False),
    ],
)
def test_a_zero_of_sympy_is_a_proof(problem, answer, shown):
    assert is_shown((infix.read(problem), infix.read(answer))) is shown


def test_what_takes_too_long_or_fails_stays_open():
    opinion = SecondOpinion(0.0001)
    verifier = Verifier(opinion)
    problem = derivative(OVERFLOWING)
    assert verifier.check(problem, infix.read(OVERFLOWING)) is Verdict.UNDECIDED
    assert (opinion.asked, opinion.failed) == (1, 1)
    opinion._process.seconds = 60
    assert verifier.check("x", infix.read("9^9^9^9")) is Verdict.UNDECIDED
    assert opinion.failed == 2  # the guard refuses it there too
    assert verifier.check(problem, infix.read(OVERFLOWING)) is Verdict.RIGHT


def test_a_process_is_killed_in_time_and_another_goes_on():
    call = Killable(slow, 20)
    first = call(0.01)
    assert call(0.01) == first
    call.seconds, began = 0.3, time.monotonic()
    with pytest.raises(TimeoutError, match=r"more than 0.3 seconds"):
        call(60)
    assert time.monotonic() - began < 10
    assert ended(first)
    call.seconds = 20
    assert call(0.01) != first
    assert call.killed == 1


def test_a_process_that_ends_or_fails_is_told(monkeypatch):
    call = Killable(slow, 20)
    with pytest.raises(ChildProcessError, match="ended with code 7"):
        call(-1)
    with pytest.raises(ChildProcessError, match="ValueError: got 0"):
        call(0)
    first = call(0.01)
    os.kill(first, signal.SIGKILL)
    assert ended(first)
    second = call(0.01)
    assert second != first
    for _ in range(10):  # also at once, while the system still takes it down
        os.kill(second, signal.SIGKILL)
        second = call(0.001)
    monkeypatch.setattr(killable, "CALLS", 1)
    third = call(0.01)
    assert third != second
    assert ended(second)
    del call
    assert ended(third)


def test_each_call_has_its_result():
    found = dict(call_each(slow, [0.01, 60, -1, 0, 0.02, 0.01], 3, 2))
    assert [type(found[k]) for k in range(6)] == [
        int,
        TimeoutError,
        ChildProcessError,
        ChildProcessError,
        int,
        int,
    ]


OWNER = """
import sys, time
sys.path[:0] = {path!r}
from mathkernels.data.killable import Killable
import test_integration_second_opinion as cases
if __name__ == "__main__":
    call = Killable(cases.{function}, 600)
    print(call({before}), flush=True)
    call.begin({during})
    print(call._process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(("function", "before", "during"), [("slow", 0.01, 500), ("busy_in_c", 0, 10**10)])
def test_no_process_outlives_its_owner(tmp_path, function, before, during):
    path = [str(Path(__file__).parent)]
    script = tmp_path / "owner.py"
    script.write_text(OWNER.format(path=path, function=function, before=before, during=during))
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    owner.stdout.readline()
    worker = int(owner.stdout.readline())
    time.sleep(0.3)
    assert is_alive(worker)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert ended(worker)
