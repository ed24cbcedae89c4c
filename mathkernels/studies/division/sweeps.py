"""Grids over anything that a study of one module can be given: each combination becomes a variant."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mathkernels.ensemble.checks import require
from mathkernels.ensemble.describe import Ramp
from mathkernels.studies.arithmetic.study import Study, Variant
from mathkernels.studies.division.figures import find_datasets, literal, single_study

# Names that are settings of the training; every other name is an option of the module.
SETTINGS = (
    "lr",
    "optimizer",
    "momentum",
    "clip_norm",
    "clip_value",
    "restarts",
    "criterion",
    "inputs",
    "operation",
)
SIZES = ("iterations", "batch")
MOST_COMBINATIONS = 10_000
_OUTSIDE_BRACKETS = re.compile(r",(?![^\[(]*[\])])")


def parse_sweep(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Read "lr=1e-3,1e-2" and "range=U[1,2],U[-2,2]" into name -> values; a comma in brackets does not split.

    Raises:
        ValueError: a text has another form, a value is empty or a name or value comes twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, sign, values = text.partition("=")
        parts = tuple(part.strip() for part in _OUTSIDE_BRACKETS.split(values))
        if not (name and sign and all(parts)):
            raise ValueError(f"sweep: got {text!r}, needs the form name=value,value,...")
        if name in found:
            raise ValueError(f"sweep: got {name!r} twice, needs each name once")
        if len(set(parts)) < len(parts):
            raise ValueError(f"sweep: got {text!r}, needs each value once")
        found[name] = parts
    return found


def sweep_study(
    module: str,
    grid: Mapping[str, Sequence[str]],
    *,
    ranges: Iterable[str],
    extrapolation: str | None = None,
    **fixed: Any,
) -> Study:
    """Return a study with one variant per combination of the grid's values.

    Args:
        module: key of :data:`mathkernels.studies.division.catalogue.IN_2`.
        grid: name -> values, see :func:`parse_sweep`. A name is one of :data:`SETTINGS` or :data:`SIZES`,
            "ramp" (values like 20000-35000, or none), "range" (the data sets), or an option of the module.
        ranges, extrapolation: see :func:`find_datasets`; the grid's "range" takes their place.
        fixed: as for :func:`single_study`; what the grid names is taken from the grid.
    """
    grid = dict(grid)
    datasets = find_datasets(grid.pop("range", None) or ranges, extrapolation)
    studies = [
        (_label(combination), _one(module, combination, list(datasets), extrapolation, fixed))
        for combination in _combinations(grid)
    ]
    variants = tuple(_own(label, study) for label, study in studies)
    first = studies[0][1]
    shown = ", ".join(grid) or "range"
    return dataclasses.replace(
        first,
        name=f"{module}-sweep",
        title=f"{module}: sweep of {shown}",
        variants=variants,
        datasets=datasets,
    )


def _combinations(grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    size = math.prod(len(values) for values in grid.values())
    right = f"at most {MOST_COMBINATIONS:,} combinations"
    require(size <= MOST_COMBINATIONS, f"sweep of {', '.join(grid)}", size, right)
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _label(combination: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in combination.items()) or "papers' configuration"


def _one(
    module: str,
    combination: Mapping[str, str],
    ranges: list[str],
    extrapolation: str | None,
    fixed: Mapping[str, Any],
) -> Study:
    given = {name: value for name, value in fixed.items() if value is not None}
    given |= {"options": [*given.get("options", ())], "also": (*SETTINGS, *SIZES, "ramp", "range")}
    for name, value in combination.items():
        if name in SETTINGS:
            given[name] = _setting(name, value)
        elif name not in (*SIZES, "ramp"):
            given["options"].append(f"{name}={value}")
    study = single_study(module, ranges=ranges, extrapolation=extrapolation, **given)
    if "iterations" in combination:
        study = study.resized(_whole("iterations", combination["iterations"]))
    if "batch" in combination:
        study = dataclasses.replace(study, batch=_whole("batch", combination["batch"]))
    if "ramp" in combination:
        ramp = _ramp(combination["ramp"])
        variants = tuple(dataclasses.replace(variant, ramp=ramp) for variant in study.variants)
        study = dataclasses.replace(study, variants=variants)
    return study


def _own(label: str, study: Study) -> Variant:
    """Return the study's one variant with everything that another variant of the sweep may have otherwise."""
    return dataclasses.replace(
        study.variants[0],
        label=label,
        inputs=study.inputs,
        operation=study.operation,
        iterations=study.iterations,
        batch=study.batch,
    )


def _setting(name: str, text: str) -> Any:
    if name in ("optimizer", "criterion", "operation"):
        return text
    if name in ("inputs", "restarts"):
        return _whole(name, text)
    value = literal(text)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"sweep of {name}: got {text!r}, needs a number")
    return value


def _whole(name: str, text: str) -> int:
    value = literal(text)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"sweep of {name}: got {text!r}, needs an integer")
    return value


def _ramp(text: str) -> Ramp | None:
    if text == "none":
        return None
    start, sign, end = text.partition("-")
    if not sign:
        raise ValueError(f"sweep of ramp: got {text!r}, needs START-END, such as 20000-35000, or none")
    return Ramp(start=_whole("ramp", start), end=_whole("ramp", end))
