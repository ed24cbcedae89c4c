"""The papers' figures as data: hyperparameters of each configuration, and which of them a figure compares.

Source: Mistry, Farrahi & Hare 2021 (arXiv 2110.05177) and the flags of its published scripts. A configuration
is entered once and shared by every figure that shows it; "in 2" is without, "in 10" with redundant inputs.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from mathkernels.data.arithmetic import MIXED_SIGNS, RANGES, suggestion
from mathkernels.data.distributions import parse_ranges, ranges_text
from mathkernels.ensemble.describe import NAU, NMRU, NMU, NRU, SGD, Adam, Ramp, RealNPU
from mathkernels.ensemble.study import Dataset, Study, Variant

NINE_RANGES: dict[str, Dataset] = {
    text: ((inside,), (outside,)) for text, (inside, outside) in RANGES.items()
}

_BASELINE, _MODIFIED = "Real NPU (baseline)", "Real NPU (modified)"
_LATE, _EARLY, _IN_10 = (
    Ramp(start=40_000, end=50_000),
    Ramp(start=20_000, end=35_000),
    Ramp(start=50_000, end=75_000),
)

IN_2: dict[str, Variant] = {
    "RealNPU": Variant(label=_BASELINE, module=RealNPU(), optimizer=Adam(lr=5e-3)),
    "RealNPU-modified": Variant(
        label=_MODIFIED, module=RealNPU.modified(), optimizer=Adam(lr=5e-3), ramp=_LATE
    ),
    "NRU": Variant(label="NRU", module=NRU(), optimizer=Adam(lr=1.0), ramp=_EARLY),
    "NMRU": Variant(label="NMRU", module=NMRU(), optimizer=Adam(lr=1e-2), ramp=_EARLY, clip_norm=1.0),
    # in no figure of the division papers; their scripts' default learning rate
    "NAU": Variant(label="NAU", module=NAU(), optimizer=Adam(lr=1e-3), ramp=_EARLY),
    "NMU": Variant(label="NMU", module=NMU(), optimizer=Adam(lr=1e-3), ramp=_EARLY),
}

IN_10: dict[str, Variant] = {
    "RealNPU": IN_2["RealNPU"],
    "RealNPU-modified": dataclasses.replace(IN_2["RealNPU-modified"], ramp=_IN_10),
    "NRU": dataclasses.replace(IN_2["NRU"], optimizer=Adam(lr=1e-3), ramp=_IN_10),
    "NMRU": dataclasses.replace(IN_2["NMRU"], ramp=_IN_10),
    "NAU": dataclasses.replace(IN_2["NAU"], ramp=_IN_10),
    "NMU": dataclasses.replace(IN_2["NMU"], ramp=_IN_10),
}

_FOUR = ("RealNPU", "RealNPU-modified", "NRU", "NMRU")

FIGURES: dict[str, Study] = {
    "3": Study(
        name="figure-3",
        title="Figure 3: no redundancy (2 inputs)",
        variants=tuple(IN_2[key] for key in _FOUR),
        datasets=NINE_RANGES,
    ),
    "6-redundancy": Study(
        name="figure-6-redundancy",
        title="Figure 6: with redundancy (10 inputs)",
        variants=tuple(IN_10[key] for key in _FOUR),
        datasets=NINE_RANGES,
        inputs=10,
        iterations=100_000,
    ),
}

OPERATION_OF = {"NAU": "add", "NMU": "mul"}  # what a module is made for, if not division


def choose(what: str, given: str, known: Mapping[str, Any]) -> Any:
    """Return ``known[given]``; raises ValueError with the known names and the nearest of them."""
    if given not in known:
        raise ValueError(f"{what}: got {given!r}, needs one of {', '.join(known)}{suggestion(given, known)}")
    return known[given]


def find_figure(number: str) -> Study:
    """Return the study behind a figure of the papers, by the number in :data:`FIGURES`."""
    return choose("figure", number, FIGURES)


def find_datasets(names: Iterable[str], extrapolation: str | None = None) -> dict[str, Dataset]:
    """Return data sets by their interpolation range; "all" are the papers' nine.

    Args:
        names: ranges such as "U[-2,2]".
        extrapolation: test range for all of them; None takes the papers' partner of a range of theirs.
    """
    partners = {**MIXED_SIGNS, **NINE_RANGES}
    found: dict[str, Dataset] = {}
    for name in names:
        if name == "all":
            chosen = dict(NINE_RANGES)
        else:
            inside = parse_ranges(name)
            text = ranges_text(inside)
            if extrapolation is None and text not in partners:
                raise ValueError(
                    f"range: got {name!r}, needs an extrapolation range or to be one of the papers', "
                    f"{', '.join(repr(partner) for partner in partners)}{suggestion(text, partners)}"
                )
            chosen = {text: (inside, partners[text][1] if text in partners else ())}
        for text, (inside, outside) in chosen.items():
            found[text] = (inside, outside if extrapolation is None else parse_ranges(extrapolation))
    return found


def find_variant(
    name: str,
    inputs: int,
    *,
    options: Iterable[str] = (),
    lr: float | None = None,
    optimizer: str | None = None,
    clip_norm: float | None = None,
) -> Variant:
    """Return the papers' configuration of a module, changed where asked.

    Args:
        name: key of :data:`IN_2`.
        inputs: up to 2 takes the configurations in 2, more those in 10.
        options: fields of the module as "name=value".
        lr, optimizer ("adam", "sgd"), clip_norm (0 for no limit): None keeps the paper's.
    """
    variant: Variant = choose("module", name, IN_2 if inputs <= 2 else IN_10)
    changes = dict(_option(variant, text) for text in options)
    new: dict[str, Any] = {"module": dataclasses.replace(variant.module, **changes)}
    rate = variant.optimizer.lr if lr is None else lr
    kinds = {"adam": Adam, "sgd": SGD}
    new["optimizer"] = choose("optimizer", optimizer or variant.optimizer.name, kinds)(lr=rate)
    if clip_norm is not None:
        new["clip_norm"] = clip_norm or None
    return dataclasses.replace(variant, **new)


def _option(variant: Variant, text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"option: got {text!r}, needs the form name=value")
    known = {field.name: None for field in dataclasses.fields(variant.module)}
    choose(f"option of {variant.module.name}", name, known)
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value  # a bare word, such as clip=wg


def single_study(
    module: str,
    *,
    ranges: Iterable[str],
    inputs: int = 2,
    operation: str | None = None,
    extrapolation: str | None = None,
    **changes: Any,
) -> Study:
    """Return a study of one module, doing what it is made for if no operation is given.

    ``changes`` go to :func:`find_variant`, ranges and extrapolation to :func:`find_datasets`.
    """
    variant = find_variant(module, inputs, **changes)
    return Study(
        name=module,
        title=f"{variant.label} ({inputs} inputs)",
        variants=(variant,),
        datasets=find_datasets(ranges, extrapolation),
        inputs=inputs,
        operation=operation or OPERATION_OF.get(variant.module.name, "div"),
        iterations=50_000 if inputs <= 2 else 100_000,
    )


def listing() -> str:
    """Return the figures with their variants, runs and iterations as text."""
    lines = []
    for number, study in FIGURES.items():
        labels = ", ".join(variant.label for variant in study.variants)
        million = study.runs * study.iterations / 1e6
        lines.append(f"{number}: {study.title}. {labels}")
        lines.append(f"    {study.runs} runs of {study.iterations:,} iterations = {million:g} million")
    return "\n".join(lines)
