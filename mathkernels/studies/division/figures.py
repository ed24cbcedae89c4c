"""Find figures of the paper by their names, and make studies of one module out of names and text."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from mathkernels.data.arithmetic import CHALLENGING, MIXED_SIGNS, NEAR_ZERO, suggestion
from mathkernels.data.distributions import parse_ranges, ranges_text
from mathkernels.data.ranges import shown
from mathkernels.ensemble.describe import CRITERIA, SGD, Adam, Norm, Restarts
from mathkernels.studies.arithmetic.study import Dataset, Study, Variant
from mathkernels.studies.division.catalogue import CATALOGUE, FIGURES, IN_2, IN_10, NINE_RANGES, Figure

OPERATION_OF = {
    "NAU": "add",
    "NMU": "mul",
    "Linear": "add",
    "NAC": "add",
    "NACMul": "mul",
}  # what a module is made for, if not division
OPTIMIZERS = {"adam": Adam, "sgd": SGD}
_NO_NAMES: dict[str, str] = {}
# the papers' names of modules that have another one here
PAPER_NAMES = {"NAC+": "NAC", "NAC.": "NACMul", "NAC-mul": "NACMul", "G-NALU": "GNALU", "iNALU": "INALU"}


def choose(what: str, given: str, known: Mapping[str, Any], also: Mapping[str, str] = _NO_NAMES) -> Any:
    """Return ``known[given]``; raises ValueError with the known names and the nearest of them.

    Args:
        what: how the message names it.
        given: what was asked for.
        known: what there is.
        also: other names -> the known ones that they mean.
    """
    if given not in known:
        near = suggestion(given, known, also)
        raise ValueError(f"{what}: got {shown(given)}, needs one of {', '.join(known)}{near}")
    return known[given]


def catalogued(name: str) -> Figure:
    """Return a figure of the paper by its number or the name of its plot in the paper's scripts."""
    for figure in CATALOGUE.values():
        if name in figure.keys:
            return figure
    return choose("figure", name, CATALOGUE)


def find_figures(names: Iterable[str]) -> tuple[Figure, ...]:
    """Return figures by their names in the order of the catalogue, each once; "all" are all of them."""
    chosen = {figure.number for name in names for figure in _named(name)}
    return tuple(figure for number, figure in CATALOGUE.items() if number in chosen)


def _named(name: str) -> Iterable[Figure]:
    return CATALOGUE.values() if name == "all" else (catalogued(name),)


def find_figure(name: str) -> Study:
    """Return the study behind a figure of the paper; one that trains nothing is refused."""
    figure = catalogued(name)
    if figure.study is None:
        raise ValueError(f"figure: got {name!r}, which trains nothing, needs one of {', '.join(FIGURES)}")
    return figure.study


def find_datasets(names: Iterable[str], extrapolation: str | None = None) -> dict[str, Dataset]:
    """Return data sets by their interpolation range, in the order given; "all" are the papers' nine.

    Args:
        names: ranges such as "U[-2,2]", "TN(0,1)[-5,5]" or "U[-2,-1] ; U[1,2]".
        extrapolation: test range for all of them; None takes the papers' partner of a range of theirs.
    """
    partners = {**CHALLENGING, **NEAR_ZERO, **MIXED_SIGNS, **NINE_RANGES}
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
    momentum: float | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    restarts: int | None = None,
    criterion: str | None = None,
    also: Iterable[str] = (),
) -> Variant:
    """Return the papers' configuration of a module, changed where asked.

    Args:
        name: key of :data:`IN_2`.
        inputs: up to 2 takes the configurations in 2, more those in 10.
        options: fields of the module as "name=value"; those of its norm penalty as "norm.name=value".
        lr, optimizer ("adam", "sgd"), clip_norm, clip_value (0 for no limit), criterion: None keeps the
            paper's. A clip_norm drops the paper's clip_value, and the other way round.
        restarts: window of :class:`Restarts`, 0 for none.
        momentum: of SGD.
        also: names besides the module's options that a message about an unknown one shall list.
    """
    variant: Variant = choose("module", name, IN_2 if inputs <= 2 else IN_10, PAPER_NAMES)
    new: dict[str, Any] = {"module": variant.module}
    for text in options:
        new["module"] = _changed(new["module"], text, also)
    settings = {"lr": variant.optimizer.lr if lr is None else lr}
    kind = variant.optimizer.name if optimizer is None else optimizer
    if momentum is not None:
        if kind != "sgd":
            raise ValueError(f"momentum: got {momentum} for the optimizer {kind!r}, needs 'sgd'")
        settings["momentum"] = momentum
    new["optimizer"] = choose("optimizer", kind, OPTIMIZERS)(**settings)
    for name, limit, other in (
        ("clip_norm", clip_norm, "clip_value"),
        ("clip_value", clip_value, "clip_norm"),
    ):
        if limit is not None:
            new |= {name: limit or None, other: new.get(other)}
    if restarts is not None:
        new["restarts"] = Restarts(window=restarts) if restarts else None
    if criterion is not None:
        choose("criterion", criterion, dict.fromkeys(CRITERIA))
        new["criterion"] = criterion
    return dataclasses.replace(variant, **new)


def _changed(described: Any, text: str, also: Iterable[str] = ()) -> Any:
    """Return a module (or its norm) with one field changed, as in "clip=wg" or "norm.order=2".

    Args:
        described: the module or norm.
        text: name=value.
        also: further names that a message shall list.
    """
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"option: got {text!r}, needs the form name=value")
    outer, dot, inner = name.partition(".")
    kind = getattr(described, "name", type(described).__name__)
    known = {field.name: None for field in dataclasses.fields(described)}
    choose(f"option of {kind}", outer, known | dict.fromkeys(also))
    if not dot:
        return dataclasses.replace(described, **{name: literal(value)})
    part = getattr(described, outer)
    if outer != "norm":
        raise ValueError(f"option: got {name!r}, needs a name without a dot, or norm.something")
    return dataclasses.replace(described, norm=_changed(part or Norm(), f"{inner}={value}"))


def literal(text: str) -> Any:
    """Read a Python literal; anything else is a bare word, such as wg."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


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
        operation=OPERATION_OF.get(variant.module.name, "div") if operation is None else operation,
        iterations=50_000 if inputs <= 2 else 100_000,
    )
