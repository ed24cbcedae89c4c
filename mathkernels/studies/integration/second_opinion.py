"""Whether sympy shows that an answer is right, where balls leave it open.

sympy simplifies F' - f in a process that is killed at a limit. Its 0 is a proof; whatever else it says is
none, for it does not find every 0.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from mathkernels.data.killable import Killable
from mathkernels.data.symbolic import algebra
from mathkernels.data.symbolic.language import Tree

SECONDS: Final = 5.0


@cache
def _sympy() -> Any:
    return algebra.sympy_algebra()


def is_shown(pair: tuple[Tree, Tree]) -> bool:
    """Whether sympy finds the answer's derivative equal to the problem; without any limit.

    Args:
        pair: problem and answer; absolute values and signs are written as roots.
    """
    sympy, x = _sympy(), _sympy().leaves["x"]
    problem, answer = (sympy.expression(tree) for tree in pair)
    difference = answer.diff(x) - problem
    if difference == 0 or difference.expand() == 0:
        return True
    module = sympy.module
    return module.simplify(difference) == 0 or module.simplify(difference.rewrite(module.exp)) == 0


class SecondOpinion:
    """Asks sympy, which takes up to seconds for an answer.

    Args:
        seconds: for an answer, at most.

    Attributes:
        asked: how many answers.
        shown: how many of them are right.
        failed: how many ended without a word of sympy: it took too long, or raised.

    Raises:
        ImportError: sympy is not installed.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        algebra.sympy_algebra()
        self._process = Killable(is_shown, seconds, _sympy)
        self.asked = self.shown = self.failed = 0

    def shows(self, problem: Tree, answer: Tree) -> bool:
        """Whether the answer is shown to be right."""
        self.asked += 1
        try:
            found = self._process((problem, answer))
        except (TimeoutError, ChildProcessError):
            self.failed += 1
            return False
        self.shown += found
        return found

    def close(self) -> None:
        """End the process; another question starts one again."""
        self._process.close()
