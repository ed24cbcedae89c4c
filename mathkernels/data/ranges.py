"""Checks of numbers in descriptions and configurations: each has a range, and is one of Python's afterwards.

numpy's integers and floats are taken as Python's; a bool is no number. Whatever else is given (NaN, 10**400,
a text) raises ValueError with the name, what was given, in a few characters, and what would be right.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np

MOST = 10**9  # of whatever is counted
EXACT = 2**53  # whole numbers up to here are exact in a double
LAST_SEED = 2**63 - 1  # what tensors and files of integers hold
SEEDS = 2**32  # numpy's older generators take fewer
SMALLEST, LARGEST = 1e-30, 1e30  # of positive numbers that float32 has to hold, and their inverses
FLOAT32 = float(np.finfo(np.float32).max)  # the kernels compute in float32 at least
WORDING = "{name}: got {given}, needs {right}"
SHORT, LONG = 60, 200  # characters of a value in a message


def shown(value: object, most: int = SHORT) -> str:
    """Return a value as a message shows it: on one line, and short however large it is."""
    try:
        text = str(value) if isinstance(value, (int, float, np.number)) else repr(value)
    except ValueError:  # Python does not write more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= most else f"{text[: most - 20]}... ({len(text)} characters)"


def require(condition: bool, what: str, given: object, right: str) -> None:
    """Raise ValueError unless the condition holds."""
    if not condition:
        raise ValueError(WORDING.format(name=what, given=shown(given, LONG), right=right))


def is_whole(given: object) -> TypeGuard[int]:
    return isinstance(given, (int, np.integer)) and not isinstance(given, bool)


def is_number(given: object) -> TypeGuard[float]:
    """Whether this is a finite number that float32 can hold."""
    if not (is_whole(given) or isinstance(given, (float, np.floating))):
        return False
    return -FLOAT32 <= plain(given) <= FLOAT32


def plain(given: Any) -> Any:
    """Return the Python number of the same value."""
    if isinstance(given, np.integer):
        return int(given)
    return float(given) if isinstance(given, np.floating) else given


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
    if not is_whole(value):
        right = f"a whole number of at least {low}"
    elif value < low:
        right = f"at least {low}"
    elif value > high:
        right = f"at most {high}"
    else:
        return int(value)
    raise ValueError(wording.format(name=name, given=shown(value), right=right))


def count(what: str, given: object, low: int, high: int = EXACT) -> int:
    """Return a whole number of a description; the message has the whole range."""
    fits = is_whole(given) and low <= given <= high
    require(fits, what, given, f"an integer of at least {low} and at most {high:,}")
    return plain(given)


def valid_seed(what: str, given: object) -> int:
    """Return a seed that all of numpy's generators take."""
    require(is_whole(given) and 0 <= given < SEEDS, what, given, "an integer in [0, 2**32)")
    return plain(given)


def number(what: str, given: object, low: float, right: str) -> float:
    """Return a number that float32 can hold; what was given as an integer stays one."""
    require(is_number(given) and given >= low, what, given, f"{right} and at most {FLOAT32:.2g}")
    return plain(given)


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
    if is_whole(value) or isinstance(value, (float, np.floating)):
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
