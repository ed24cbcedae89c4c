"""The section of the reproduction page about runs that end in NaN or infinity, with the causes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mathkernels.studies.arithmetic.non_finite import NON_FINITE
from mathkernels.studies.division.published import NON_FINITE_CAUSES


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
