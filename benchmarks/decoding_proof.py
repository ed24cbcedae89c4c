"""Before decoding is timed: answers and their log-probabilities must be the stock loop's in float64."""

from __future__ import annotations

import numpy as np
from decoding_cases import Arrays, DecodingCase

# Where two characters, or two beams, are as probable to the last digits of float32, rounding decides, and the
# rest of the answer differs. So few answers may: another formula would change most of them.
OTHER_ANSWERS = 0.01
# Of a log-probability: a sum over 30 steps, each with an error of float32 that states carry on.
SINGLE = 1e-4


def reference(case: DecodingCase) -> Arrays:
    """Return "tokens" (B,L), filled up with the end symbol, and "log_probs" (B)."""
    import torch
    from rivals.decoding_stock import StockDecoding

    return StockDecoding(case, batch=case.sentences, dtype=torch.float64).prove(1)


def assert_equal_answers(case: DecodingCase, name: str, exact: Arrays, found: Arrays) -> float:
    """Compare answers, and the log-probabilities of equal ones.

    Returns:
        The largest error of a log-probability as a share of the largest.

    Raises:
        AssertionError: too many answers are others, or a log-probability is off by more than allowed.
    """
    same = (exact["tokens"] == found["tokens"]).all(axis=1)
    if not same.mean() >= 1 - OTHER_ANSWERS:
        raise AssertionError(f"{case.name}, {name}: only {same.sum()} of {len(same)} answers agree")
    true = exact["log_probs"]
    error, largest = np.abs(found["log_probs"] - true)[same].max(), np.abs(true).max()
    if not error <= SINGLE * largest:
        raise AssertionError(f"{case.name}, {name}: a log-probability is off by {error:.3g} of {largest:.3g}")
    return float(error / largest)
