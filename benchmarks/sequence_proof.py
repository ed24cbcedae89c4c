"""Before a sequence is timed: outputs and gradients must agree with torch.nn in float64."""

from __future__ import annotations

import numpy as np
from attention_cases import AttentionCase
from sequence_cases import Arrays, SequenceCase
from sequence_participants import AUTOCAST, OURS_BF16

# Of the largest entry of each result. In float32 a thousand steps, each with roundings that the next one
# carries on, and sums over 128,000 rows keep four digits in any order of operations.
SINGLE = 1e-4
# bfloat16 keeps eight bits: weights and states are rounded by up to 2^-9 before each product, the products of
# one step partly cancel their errors, and steps carry them on. Sixteen such roundings are allowed; a wrong
# formula is off by as much as the entry itself.
ROUNDED_LIMIT = 8 * 2.0**-8
# Under autocast torch.nn rounds results of products as well: the gradient of a GRU's weight_hh was found to
# be off by 3.5 % with 512 units and 160 steps. It may be off by twice as much as ours.
LIMITS = {OURS_BF16: ROUNDED_LIMIT, AUTOCAST: 2 * ROUNDED_LIMIT}


def reference(case: SequenceCase) -> Arrays:
    """Return what :func:`assert_equal_answers` compares with: torch.nn in float64."""
    import torch
    from rivals.sequence_stock import StockLayer

    return StockLayer(case, dtype=torch.float64).prove(1)


def assert_equal_answers(
    case: SequenceCase | AttentionCase, name: str, exact: Arrays, found: Arrays
) -> float:
    """Compare outputs of both passes and all gradients.

    Returns:
        The largest error of a result as a share of its largest entry.

    Raises:
        AssertionError: a result is missing, has another shape, or is off by more than allowed.
    """
    limit = LIMITS.get(name, SINGLE)
    if found.keys() != exact.keys():
        raise AssertionError(f"{case.name}, {name}: results {sorted(found)}, needs {sorted(exact)}")
    worst = 0.0
    for key, true in exact.items():
        if found[key].shape != true.shape:
            raise AssertionError(
                f"{case.name}, {name}: {key} has shape {found[key].shape}, needs {true.shape}"
            )
        error, largest = float(np.abs(found[key] - true).max()), float(np.abs(true).max())
        if not error <= limit * largest:  # the gradient of weight_hh is 0 where there is one step
            raise AssertionError(
                f"{case.name}, {name}: {key} is off by {error:.3g}, allowed {limit:.3g} of {largest:.3g}"
            )
        worst = max(worst, error / largest if largest else 0.0)
    return worst
