"""Which runs of a campaign end in NaN or infinity, each distinct run counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mathkernels.ensemble.describe import Run
from mathkernels.studies.arithmetic.campaign import Trained
from mathkernels.studies.arithmetic.study import Member

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
