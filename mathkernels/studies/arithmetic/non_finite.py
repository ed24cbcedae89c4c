"""Which runs of a campaign end in NaN or infinity, each distinct run counted once, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mathkernels.ensemble.describe import Run
from mathkernels.studies.arithmetic.campaign import Trained
from mathkernels.studies.arithmetic.study import Member
from mathkernels.studies.division.published import NON_FINITE_CAUSES

NON_FINITE = "non_finite.json"


def non_finite(trained: Trained, members: Mapping[str, Sequence[Member]]) -> dict[str, Any]:
    """Return counts for JSON: of all distinct runs, and of each group in which some end in NaN or infinity.

    Args:
        members: of each study by its name. A group is a module, its number of inputs and a data set.
    """
    shown: dict[Run, list[tuple[str, Member]]] = {}
    for name, own in members.items():
        for member in own:
            shown.setdefault(member.run, []).append((name, member))
    runs = list(shown)
    results = trained.of(runs)
    groups: dict[tuple[str, int, str], list[int]] = {}
    for i, run in enumerate(runs):
        groups.setdefault((run.module.name, run.task.inputs, shown[run][0][1].dataset), []).append(i)
    found = []
    for (module, inputs, dataset), places in groups.items():
        broken = [i for i in places if results.non_finite[i]]
        if broken:
            legends = dict.fromkeys(
                f"{name.removeprefix('figure-')}: {member.variant}"
                for i in broken
                for name, member in shown[runs[i]]
            )
            found.append(
                {
                    "module": module,
                    "inputs": inputs,
                    "range": dataset,
                    "shown_in": list(legends),
                    "runs": len(places),
                    "non_finite": len(broken),
                    "first_at": int(np.min(results.non_finite_at[broken])),
                }
            )
    return {"runs": len(runs), "non_finite": int(results.non_finite.sum()), "groups": found}


def section(results: Path) -> Iterator[str]:
    """Yield the lines of the page about a folder of results."""
    yield "## Runs that end in NaN or infinity\n"
    path = results / NON_FINITE
    if not path.exists():
        yield (
            "Not counted: the results were trained by a version of mathkernels that did not write "
            f"`{NON_FINITE}`.\n"
        )
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    yield (
        f"**{content['non_finite']:,} of {content['runs']:,}** distinct runs. A run counts if a parameter "
        "or a number of its last logged row is NaN or infinite; its best row, which the tables and "
        "figures show, is of before. `runs.csv` names every such run (`non_finite`) and the iteration since "
        "which (`non_finite_at`).\n"
    )
    if not content["groups"]:
        return
    yield "| module, inputs | range | shown in | runs | end so | earliest at | cause |"
    yield "| --- | --- | --- | ---: | ---: | ---: | --- |"
    for group in content["groups"]:
        cells = (
            f"{group['module']}, {group['inputs']}",
            group["range"],
            "; ".join(group["shown_in"]),
            f"{group['runs']:,}",
            f"{group['non_finite']:,}",
            f"{group['first_at']:,}",
            cause(group),
        )
        yield "| " + " | ".join(cells) + " |"
    yield ""


def cause(group: Mapping[str, Any]) -> str:
    """Return why runs of a group end so, where it was found out."""
    for known in NON_FINITE_CAUSES:
        if known.module == group["module"] and (known.ranges is None or group["range"] in known.ranges):
            return known.text
    return "NOT FOUND"
