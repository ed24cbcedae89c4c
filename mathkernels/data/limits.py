"""Checks of numbers: of what kind they are, how large they may be, and how a message shows what was given.

A check returns the plain Python number, so that numpy's integers and floats are taken wherever Python's are
and look the same afterwards. A bool is no number.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

LARGEST = float(np.finfo(np.float32).max)  # the kernels compute in float32 at least
MOST = 2**53  # whole numbers up to here are exact in a double
SEEDS = 2**32  # numpy's generators take fewer
_SHOWN = 200  # characters of a value in a message


def shown(given: object) -> str:
    """Return how a message shows a value, shortened if it is long."""
    try:
        text = repr(given)
    except ValueError:  # Python does not write out integers of more than 4,300 digits
        return f"an integer of {given.bit_length()} bits" if isinstance(given, int) else type(given).__name__
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 40]}...{text[-30:]}"


def require(condition: bool, what: str, given: object, right: str) -> None:
    if not condition:
        raise ValueError(f"{what}: got {shown(given)}, needs {right}")


def is_whole(given: object) -> TypeGuard[int]:
    return isinstance(given, (int, np.integer)) and not isinstance(given, bool)


def is_number(given: object) -> TypeGuard[float]:
    """Whether this is a finite number that float32 can hold."""
    if not (is_whole(given) or isinstance(given, (float, np.floating))):
        return False
    return -LARGEST <= plain(given) <= LARGEST


def plain(given: Any) -> Any:
    """Return the Python number of the same value."""
    if isinstance(given, np.integer):
        return int(given)
    return float(given) if isinstance(given, np.floating) else given


def number(what: str, given: object, low: float, right: str) -> float:
    require(is_number(given) and given >= low, what, given, f"{right} and at most {LARGEST:.2g}")
    return plain(given)


def count(what: str, given: object, low: int, high: int = MOST) -> int:
    fits = is_whole(given) and low <= given <= high
    require(fits, what, given, f"an integer of at least {low} and at most {high:,}")
    return plain(given)


def valid_seed(what: str, given: object) -> int:
    require(is_whole(given) and 0 <= given < SEEDS, what, given, "an integer in [0, 2**32)")
    return plain(given)
