"""Before anything is timed: every participant must learn the same weights from the same inputs."""

from __future__ import annotations

import numpy as np
from cases import CASES, Case
from module_cases import MODULE_CASES, ModuleCase

ITERATIONS = 20
# Adam moves a weight by about lr per update. Agreement to a thousandth of that way leaves room for float32
# rounding that Adam's division enlarges where a gradient is small, and none for another formula, penalty,
# clamp or input.
SHARE = 1e-3


def find_case(name: str) -> Case | ModuleCase:
    return CASES[name] if name in CASES else MODULE_CASES[name]


def assert_equal_answers(case: str, name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """Compare parameters (E,P) and return the largest difference; models that one side left out are NaN."""
    described = find_case(case)
    limit = SHARE * ITERATIONS * described.lr
    both = np.isfinite(ours) & np.isfinite(theirs)
    if both.sum() < max(described.inputs, np.isfinite(theirs).sum() // 2):
        raise AssertionError(f"{case}, {name}: only {both.sum()} parameters could be compared")
    worst = float(np.abs(ours - theirs)[both].max())
    if not worst <= limit:
        raise AssertionError(
            f"{case}, {name}: after {ITERATIONS} iterations parameters differ by {worst:.3g}, "
            f"allowed {limit:.3g}"
        )
    return worst
