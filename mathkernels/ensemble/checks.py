"""Checks of fields of descriptions; each raises ValueError with what was given and what would be right."""

from __future__ import annotations

from typing import Any

from mathkernels.data.ranges import (
    EXACT,
    FLOAT32,
    count,
    is_number,
    is_whole,
    number,
    plain,
    require,
    shown,
    valid_seed,
)

__all__ = [
    "EXACT",
    "FLOAT32",
    "choice",
    "count",
    "count_field",
    "flag",
    "is_number",
    "is_whole",
    "keep",
    "limit_field",
    "number",
    "number_fields",
    "plain",
    "require",
    "shown",
    "valid_seed",
    "valid_threads",
]

FINITE = "a finite number of at least 0"
MOST_THREADS = 1024


def choice(what: str, given: object, allowed: tuple[str, ...]) -> None:
    fits = isinstance(given, str) and given in allowed
    require(fits, what, given, "one of " + ", ".join(repr(name) for name in allowed))


def flag(what: str, given: object) -> None:
    require(isinstance(given, bool), what, given, "True or False")


def valid_threads(given: object) -> int | None:
    """Return a number of worker threads, None for the default."""
    if given is None:
        return None
    fits = is_whole(given) and 1 <= given <= MOST_THREADS
    require(fits, "threads", given, f"a positive integer or None, at least 1 and at most {MOST_THREADS:,}")
    return plain(given)


# Fields of frozen dataclasses, which keep the plain number.


def keep(described: Any, name: str, value: object) -> None:
    object.__setattr__(described, name, value)


def count_field(described: Any, name: str, low: int, high: int = EXACT) -> None:
    what = f"{type(described).__name__}.{name}"
    keep(described, name, count(what, getattr(described, name), low, high))


def number_fields(described: Any, *names: str) -> None:
    """Check fields that are finite and not negative."""
    for name in names:
        what = f"{type(described).__name__}.{name}"
        keep(described, name, number(what, getattr(described, name), 0, FINITE))


def limit_field(described: Any, name: str) -> None:
    """Check a field that is a positive number or None."""
    given = getattr(described, name)
    fits = given is None or (is_number(given) and given > 0)
    right = f"a positive finite number or None, at most {FLOAT32:.2g}"
    require(fits, f"{type(described).__name__}.{name}", given, right)
    keep(described, name, None if given is None else plain(given))
