"""The results of the two-layer task beside the published ones, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mathkernels.ensemble.describe import Ramp
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.statistics import wilson
from mathkernels.studies.arithmetic.campaign import Selection
from mathkernels.studies.arithmetic.study import Member
from mathkernels.studies.product.experiments import differences, published, published_setting

TABLE = "table.md"


def table(members: Sequence[Member], results: Selection) -> str:
    """Return a Markdown table of success, median iteration and sparsity, ours and the published ones.

    Published results are those of the same model on the same task; what is trained otherwise than in these is
    said below the table.
    """
    columns = ("solved", "95 % interval", "median solved at", "sparsity error")
    heads = ["model", *columns, "published: solved", "median", "sparsity"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    notes = []
    for label in dict.fromkeys(member.variant for member in members):
        own = np.array([i for i, member in enumerate(members) if member.variant == label])
        solved = own[results.solved[own]]
        rate = wilson(len(solved), len(own))
        ours = [
            f"{len(solved)}/{len(own)}",
            f"{rate.low:.1%}–{rate.high:.1%}",
            _number(results.solved_at[solved], np.median),
            _number(results.sparsity[solved], np.mean),
        ]
        run = members[own[0]].run
        setting = published_setting(run)
        theirs = published(setting[0], setting[1].label) if setting else None
        there = ["not published"] * 3 if theirs is None else [f"{theirs.success} %", *map(_plain, theirs[1:])]
        lines.append("| " + " | ".join([label, *ours, *there]) + " |")
        if theirs and (apart := differences(run)):
            told = ", ".join(
                f"{name} {_said(one)} (published: {_said(other)})" for name, (one, other) in apart.items()
            )
            notes.append(f"{label} is trained otherwise than the published runs: {told}.")
    if broken := int(np.count_nonzero(results.non_finite)):
        notes.append(f"{broken:,} of {len(members):,} runs end in NaN or infinity, see runs.csv.")
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _said(value: Any) -> str:
    if isinstance(value, Ramp):
        return f"{value.start:,} to {value.end:,}"
    if isinstance(value, tuple):
        return " and ".join(f"{each:g}" for each in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _number(values: np.ndarray, of: object) -> str:
    return _plain(float(of(values))) if len(values) else "–"  # type: ignore[operator]


def _plain(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def write_table(folder: RunFolder, members: Sequence[Member], results: Selection) -> str:
    """Write the table into the run folder and return it."""
    text = table(members, results)
    folder.write_text(TABLE, text + "\n")
    return text
