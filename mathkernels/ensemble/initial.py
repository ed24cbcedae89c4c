"""How the entries of a tensor are drawn before the first update."""

from __future__ import annotations

from typing import NamedTuple


class Uniform(NamedTuple):
    """Uniform numbers between ``low`` and ``high``."""

    low: float
    high: float


class Normal(NamedTuple):
    """Normal numbers of this mean and standard deviation."""

    mean: float
    deviation: float


Initial = Uniform | Normal | float  # a number fills the tensor and draws nothing
