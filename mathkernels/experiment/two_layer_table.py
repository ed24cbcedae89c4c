"""The results of the two-layer task beside the published ones, as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mathkernels.ensemble.campaign import Selection
from mathkernels.ensemble.study import Member
from mathkernels.ensemble.two_layers import published
from mathkernels.experiment.run_folder import RunFolder
from mathkernels.experiment.statistics import wilson

TABLE = "table.md"


def table(members: Sequence[Member], results: Selection, experiment: str) -> str:
    """Return a Markdown table of success, median iteration and sparsity, ours and the published ones.

    Args:
        experiment: "simple" or the operation of the main grid.
    """
    columns = ("solved", "95 % interval", "median solved at", "sparsity error")
    heads = ["model", *columns, "published: solved", "median", "sparsity"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    labels = dict.fromkeys(member.variant for member in members)
    for label in labels:
        own = np.array([i for i, member in enumerate(members) if member.variant == label])
        solved = own[results.solved[own]]
        rate = wilson(len(solved), len(own))
        ours = [
            f"{len(solved)}/{len(own)}",
            f"{rate.low:.1%}–{rate.high:.1%}",
            _number(results.solved_at[solved], np.median),
            _number(results.sparsity[solved], np.mean),
        ]
        theirs = published(experiment, label)
        there = ["not published"] * 3 if theirs is None else [f"{theirs.success} %", *map(_plain, theirs[1:])]
        lines.append("| " + " | ".join([label, *ours, *there]) + " |")
    broken = int(np.count_nonzero(results.non_finite))
    if broken:
        lines += ["", f"{broken:,} of {len(members):,} runs end in NaN or infinity, see runs.csv."]
    return "\n".join(lines)


def _number(values: np.ndarray, of: object) -> str:
    return _plain(float(of(values))) if len(values) else "–"  # type: ignore[operator]


def _plain(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def write_table(folder: RunFolder, members: Sequence[Member], results: Selection, experiment: str) -> str:
    """Write the table into the run folder and return it."""
    text = table(members, results, experiment)
    folder.write_text(TABLE, text + "\n")
    return text
