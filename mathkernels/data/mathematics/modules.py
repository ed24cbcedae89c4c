"""The modules of the data set: their names and folders, and the callables that make a question of each.

Source: Saxton et al. 2019, *Analysing Mathematical Reasoning Abilities of Neural Models*; PyPI package
mathematics_dataset 1.0.1.
"""

from __future__ import annotations

import difflib
import functools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mathkernels.data import ranges
from mathkernels.data.mathematics.compatibility import load

LEVELS = ("easy", "medium", "hard")  # thirds of the range of entropies
TRAIN = tuple(f"train-{level}" for level in LEVELS)
INTERPOLATE, EXTRAPOLATE = "interpolate", "extrapolate"
FOLDERS = (*TRAIN, INTERPOLATE, EXTRAPOLATE)
SINGLE = "train"  # what the package writes when told not to split by level
AREAS = (
    "algebra",
    "arithmetic",
    "calculus",
    "comparison",
    "measurement",
    "numbers",
    "polynomials",
    "probability",
)
_LONGER = 3  # terms that expressions of extrapolation have at most more than the longest of training

Sampler = Callable[[], Any]  # -> an object with question and answer
Range = tuple[float, float]


@dataclass(frozen=True)
class Difficulty:
    """Entropies in place of the authors', for data that small models learn in minutes; arithmetic alone.

    The entropy of a question is about the number of decimal digits that it holds in all.

    Args:
        train, interpolate, extrapolate: lowest and highest entropy; training levels are thirds of the first.
        add_sub_train, add_sub_interpolate, add_sub_extrapolate: those of add_or_sub.
    """

    train: Range = (1.0, 3.0)
    interpolate: Range = (3.0, 3.0)
    extrapolate: Range = (4.0, 5.0)
    add_sub_train: Range = (1.0, 4.0)
    add_sub_interpolate: Range = (4.0, 4.0)
    add_sub_extrapolate: Range = (5.0, 6.0)

    def __post_init__(self) -> None:
        for name, (low, high) in vars(self).items():
            low = ranges.real(f"difficulty.{name}[0]", low, 1.0, 100.0)
            ranges.real(f"difficulty.{name}[1]", high, low, 100.0)


def samplers(folder: str, difficulty: Difficulty | None = None) -> dict[str, Sampler]:
    """Return the callables of a folder by the full name of their module, such as "arithmetic__mul".

    Args:
        folder: one of FOLDERS, or SINGLE for all levels in one.
        difficulty: None for the authors' own.

    Raises:
        ImportError: mathematics_dataset is not installed.
        ValueError: an unknown folder.
    """
    known = (*FOLDERS, SINGLE)
    ranges.require(folder in known, "folder", folder, f"one of {', '.join(known)}")
    if difficulty is not None:
        return {f"arithmetic__{name}": one for name, one in sorted(_scaled(folder, difficulty).items())}
    modules = load("modules.modules")
    if folder == INTERPOLATE:
        nested = modules.test()
    elif folder == EXTRAPOLATE:
        nested = modules.test_extra()
    else:
        nested = modules.train(_third(folder))
    found = {f"{area}__{name}": one for area, inner in nested.items() for name, one in inner.items()}
    return dict(sorted(found.items()))


def _third(folder: str) -> Callable[[Sequence[float]], Range]:
    """Return what narrows a range of entropies to that of a training folder."""
    part, parts = (0, 1) if folder == SINGLE else (TRAIN.index(folder), len(TRAIN))

    def narrow(whole: Sequence[float]) -> Range:
        low, length = whole[0], whole[1] - whole[0]
        return low + length * (part / parts), low + length * ((part + 1) / parts)

    return narrow


def _scaled(folder: str, difficulty: Difficulty) -> dict[str, Sampler]:
    arithmetic = load("modules.arithmetic")
    if folder not in (INTERPOLATE, EXTRAPOLATE):
        narrow = _third(folder)
        return arithmetic._make_modules(narrow(difficulty.train), narrow(difficulty.add_sub_train))
    if folder == INTERPOLATE:
        return arithmetic._make_modules(difficulty.interpolate, difficulty.add_sub_interpolate)
    same = arithmetic._make_modules(difficulty.extrapolate, difficulty.add_sub_extrapolate)
    found = {f"{name}_big": same[name] for name in ("add_or_sub", "mul", "div", "nearest_integer_root")}
    for name in ("add_sub_multiple", "mul_div_multiple", "mixed"):
        found[f"{name}_longer"] = functools.partial(_longer, arithmetic, name, difficulty)
    return found


def _longer(arithmetic: Any, name: str, difficulty: Difficulty) -> Any:
    """Make a question with more terms than any of training has."""
    longest = load("sample.arithmetic").length_range_for_entropy(difficulty.train[1])[1]
    arguments = load("util.composition").PreSampleArgs(1, 1, *difficulty.extrapolate)
    length = random.randint(longest + 1, longest + _LONGER)
    return getattr(arithmetic, name)("int", arguments, length=length)


def trained(name: str) -> str:
    """Return the training module that a module of extrapolation extends, its own name for any other."""
    for suffix in ("_big", "_longer", "_more", "_more_samples"):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def chosen(prefix: str, known: Iterable[str]) -> list[str]:
    """Return the modules whose names begin with a prefix.

    Raises:
        ValueError: there are none; the message names the nearest.
    """
    names = sorted(known)
    found = [name for name in names if name.startswith(prefix)]
    if found and prefix:
        return found
    near = difflib.get_close_matches(prefix, [*names, *{n.partition("__")[0] for n in names}], 1, 0.3)
    right = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
    raise ValueError(f"math_module: got {ranges.shown(prefix)}, which begins the name of no module; {right}")
