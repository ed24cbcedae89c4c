"""How much memory 225 runs need beyond their evaluation sets; its own process, as a peak never falls."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path


def resident() -> int:
    """Return the bytes of memory that the process occupies now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


def measure(case_name: str, iterations: int) -> dict[str, float]:
    """Return MB: growth of the peak over the state before, the evaluation sets, and the difference."""
    import torch
    from cases import CASES

    from mathkernels import ensemble
    from mathkernels.ensemble.sets import EvaluationSets

    torch.set_num_threads(1)
    case = CASES[case_name]
    runs = case.runs(iterations)
    ensemble.fit(case.runs(1)[:1], threads=1)  # libraries and their caches are loaded now
    before = resident()
    ensemble.fit(runs, threads=1)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    sets = EvaluationSets()
    for run in runs:
        for which in ("validation", "test"):
            sets.get(run, which, torch.zeros(0).numpy().dtype)
    return {
        "growth": growth / 1e6,
        "evaluation sets": sets.nbytes / 1e6,
        "beyond": (growth - sets.nbytes) / 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
