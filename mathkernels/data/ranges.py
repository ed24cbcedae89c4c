"""Checks of the numbers in a description: each has a range, and is one of Python's own numbers afterwards.

numpy's integers and floats are taken as Python's. Whatever else is given (NaN, 10**400, a text) raises
ValueError with the name, what was given, in a few characters, and what would be right.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MOST = 10**9  # of whatever is counted
LAST_SEED = 2**63 - 1  # what tensors and files of integers hold
SMALLEST, LARGEST = 1e-30, 1e30  # of positive numbers that float32 has to hold, and their inverses
WORDING = "{name}: got {given}, needs {right}"
_SHOWN = 60  # characters of a value in a message


def shown(value: object) -> str:
    """Return a value as a message shows it: on one line, and short however large it is."""
    try:
        text = str(value) if isinstance(value, (int, float, np.number)) else repr(value)
    except ValueError:  # Python does not write more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 20]}... ({len(text)} characters)"


def whole(name: str, value: Any, low: int, high: int = MOST, wording: str = WORDING) -> int:
    """Return a whole number as an int.

    Args:
        name: of the argument, for the message.
        value: an int or an integer of numpy.
        low, high: both included.
        wording: of the message, with {name}, {given} and {right}.

    Raises:
        ValueError: it is no whole number, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        right = f"a whole number of at least {low}"
    elif value < low:
        right = f"at least {low}"
    elif value > high:
        right = f"at most {high}"
    else:
        return int(value)
    raise ValueError(wording.format(name=name, given=shown(value), right=right))


def real(
    name: str, value: Any, low: float, high: float, right: str | None = None, wording: str = WORDING
) -> float:
    """Return a number as a float.

    Args:
        name: of the argument, for the message.
        value: an int, a float or a number of numpy.
        low, high: both included; never NaN.
        right: how the message names the range.
        wording: of the message, with {name}, {given} and {right}.

    Raises:
        ValueError: it is no number, or out of range; NaN always is.
    """
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.nan
        if low <= number <= high:
            return number
    right = right or f"a number from {low:g} to {high:g}"
    raise ValueError(wording.format(name=name, given=shown(value), right=right))


def positive(name: str, value: Any, high: float = LARGEST, wording: str = WORDING) -> float:
    """Return a number above 0 as a float, see :func:`real`."""
    right = f"a finite number above 0, from {SMALLEST:g} to {high:g}"
    return real(name, value, SMALLEST, high, right, wording)


def share(name: str, value: Any, wording: str = WORDING) -> float:
    """Return a number from 0 to 1 as a float, see :func:`real`."""
    return real(name, value, 0.0, 1.0, "0 to 1", wording)


def set_fields(described: Any, **values: Any) -> None:
    """Put checked values into the fields of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(described, name, value)
