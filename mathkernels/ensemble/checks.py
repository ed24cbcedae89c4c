"""Checks of fields of descriptions; each raises ValueError with what was given and what would be right."""

from __future__ import annotations

import math
from typing import TypeGuard


def require(condition: bool, what: str, given: object, right: str) -> None:
    if not condition:
        raise ValueError(f"{what}: got {given!r}, needs {right}")


def choice(what: str, given: object, allowed: tuple[str, ...]) -> None:
    require(given in allowed, what, given, "one of " + ", ".join(repr(name) for name in allowed))


def is_number(given: object) -> TypeGuard[float]:
    return isinstance(given, (int, float)) and not isinstance(given, bool) and math.isfinite(given)


def number(what: str, given: object, low: float, right: str) -> None:
    require(is_number(given) and given >= low, what, given, right)


def count(what: str, given: object, low: int) -> None:
    fits = isinstance(given, int) and not isinstance(given, bool) and given >= low
    require(fits, what, given, f"an integer of at least {low}")


def flag(what: str, given: object) -> None:
    require(isinstance(given, bool), what, given, "True or False")
