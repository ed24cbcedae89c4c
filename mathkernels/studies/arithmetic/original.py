"""What the published scripts of one and two layers share: flags that mean an optimiser or a data set."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mathkernels.data.arithmetic import suggestion
from mathkernels.data.distributions import Benford, Distribution, Range, TruncatedNormal
from mathkernels.ensemble.describe import SGD, Adam
from mathkernels.studies.arithmetic.study import Dataset, Study


@dataclass(frozen=True)
class Translation:
    """A study of one variant on one data set, and the flags of its line that change nothing."""

    study: Study
    without_effect: tuple[str, ...]


# the papers' names of layers -> the script's
_PAPER_NAMES = {
    "NAC+": "NAC",
    "NAC.": "MNAC",
    "NAU": "ReRegualizedLinearNAC",
    "NMU": "ReRegualizedLinearMNAC",
}


def one_of(flags: dict[str, Any], name: str, *allowed: str) -> Any:
    if flags[name] not in allowed:
        near = suggestion(flags[name], allowed, _PAPER_NAMES if name == "layer-type" else {})
        raise ValueError(f"original: --{name}: got {flags[name]!r}, needs one of {', '.join(allowed)}{near}")
    return flags[name]


def optimizer_of(flags: dict[str, Any]) -> Adam | SGD:
    if one_of(flags, "optimizer", "adam", "sgd") == "adam":
        return Adam(lr=flags["learning-rate"])
    return SGD(lr=flags["learning-rate"], momentum=flags["momentum"])


def dataset_of(flags: dict[str, Any]) -> tuple[str, Dataset]:
    names = ("interpolation-range", "extrapolation-range")
    family, *numbers = flags["sample-distribution"]
    counts = {"uniform": 0, "benford": 0, "truncated-normal": 4}
    if family not in counts or len(numbers) != counts[family]:
        forms = "uniform, benford or truncated-normal MEAN SD TEST-MEAN TEST-SD"
        given = " ".join(flags["sample-distribution"])
        raise ValueError(f"original: --sample-distribution: got {given!r}, needs {forms}")
    sides = []
    for place, name in enumerate(names):
        moments = [float(number) for number in numbers[2 * place : 2 * place + 2]]
        sides.append(_side(name, flags[name], family, moments))
    return " ; ".join(map(str, sides[0])), (sides[0], sides[1])


def _side(name: str, text: str, family: str, moments: Sequence[float]) -> tuple[Distribution, ...]:
    """Read [a,b]; [[a,b],[c,d]], where each entry picks one; or [[a,b],[c,d],[]], by position."""
    wrong = f"original: --{name}: got {text!r}, needs [low,high], [[low,high],[low,high]] or, by position, "
    try:
        given = ast.literal_eval(text)
        nested = isinstance(given[0], list)
        pairs = [tuple(map(float, pair)) for pair in (given if nested else [given]) if pair]
        whole = all(len(pair) == 2 for pair in pairs) and 1 <= len(pairs) <= 2
    except (ValueError, SyntaxError, TypeError, IndexError):
        whole, nested, given, pairs = False, False, [], []
    if not whole:
        raise ValueError(wrong + "[[low,high],[low,high],[]]")
    if nested and given[-1] == []:
        return tuple(Range(((low, high),)) for low, high in pairs)
    if family == "uniform":
        return (Range(tuple((low, high) for low, high in pairs)),)
    low, high = pairs[0]
    if family == "benford":
        return (Benford(int(low), int(high)),)
    mean, deviation = moments
    return (TruncatedNormal(mean, deviation, low, high),)
