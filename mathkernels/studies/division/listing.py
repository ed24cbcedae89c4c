"""What can be trained, as text: figures with their runs and expected time, modules with their options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mathkernels.ensemble.modules import UNITS
from mathkernels.studies.arithmetic.campaign import grouped, total_iterations
from mathkernels.studies.arithmetic.timing import expected_seconds, in_words
from mathkernels.studies.division.catalogue import CATALOGUE, IN_2, IN_10
from mathkernels.studies.division.original import LAYERS


def figure_list(rates: Mapping[str, float], where: str) -> str:
    """Return every figure with its other names, legend, runs, iterations and expected time.

    Args:
        rates: model-iterations per second of each group.
        where: the machine on which they were measured.
    """
    lines, everything = [], []
    for figure in CATALOGUE.values():
        names = f" (also {', '.join(figure.keys)})" if figure.keys else ""
        lines.append(f"{figure.number}: {figure.title}{names}")
        if figure.study is None:
            lines.append("    no training")
            continue
        runs = [member.run for member in figure.study.members()]
        everything += runs
        lines.append("    " + " | ".join(variant.label for variant in figure.study.variants))
        million = total_iterations(runs) / 1e6
        expected = in_words(expected_seconds(runs, rates))
        each = f"{figure.study.iterations:,} iterations"
        lines.append(f"    {len(runs):,} runs of {each} = {million:g} million, expected time {expected}")
    distinct = [run for group in grouped(everything).values() for run in group]
    shown, trained = (total_iterations(runs) / 1e6 for runs in (everything, distinct))
    lines.append(f"all: {len(everything):,} runs, {shown:,.1f} million iterations, figure by figure")
    expected = in_words(expected_seconds(distinct, rates))
    lines.append(
        f"    {len(distinct):,} distinct runs, {trained:,.1f} million iterations, expected time {expected}"
    )
    lines.append(f"Expected times are from rates on: {where or 'no machine yet'}.")
    return "\n".join(lines)


def module_list() -> str:
    """Return every module with its configurations in 2 and 10 inputs and its options with their defaults."""
    lines = ["configurations (--module), in 2 inputs and in 10:"]
    for name, variant in IN_2.items():
        rates = " and ".join(dict.fromkeys(f"lr {each[name].optimizer.lr:g}" for each in (IN_2, IN_10)))
        lines.append(f"    {name}: {variant.module.name}, {variant.optimizer.name}, {rates}")
    lines.append("options of the modules (--option NAME=VALUE, --sweep NAME=VALUE,VALUE):")
    for name, kind in UNITS.items():
        options = ", ".join(f"{field.name}={_default(field)}" for field in dataclasses.fields(kind))
        lines.append(f"    {name}: {options or 'none'}")
    lines.append(f"layer types of the published scripts (--original): {', '.join(LAYERS)}")
    return "\n".join(lines)


def _default(field: dataclasses.Field) -> object:
    if field.default is not dataclasses.MISSING:
        return field.default
    assert field.default_factory is not dataclasses.MISSING
    norm = field.default_factory()
    return f"(norm.start={norm.start:g}, norm.end={norm.end:g}, norm.order={norm.order}), or norm=None"
