"""What the entries of a tensor are drawn from before the first update, as a description, and the drawing."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Uniform(NamedTuple):
    """Uniform numbers between ``low`` and ``high``."""

    low: float
    high: float


class Normal(NamedTuple):
    """Normal numbers of this mean and standard deviation."""

    mean: float
    deviation: float


Initial = Uniform | Normal | float  # a number fills the tensor and draws nothing


def draw_(values: Tensor, initial: Initial, source: torch.Generator) -> Tensor:
    """Fill a tensor as described, from torch's stream of the generator; return it."""
    match initial:
        case Uniform(low, high):
            return values.uniform_(low, high, generator=source)
        case Normal(mean, deviation):
            return values.normal_(mean, deviation, generator=source)
        case number:
            return values.fill_(number)
