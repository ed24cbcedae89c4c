"""What training costs: measured rates of each group of runs, and the time that they let expect."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mathkernels.ensemble.describe import Run
from mathkernels.studies.arithmetic.campaign import Trained, grouped, total_iterations

TIMING = "timing.json"


def machine(instruction_set: str) -> str:
    """Return what rates depend on: processor, usable cores, instruction set."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2]
            for line in cpuinfo.read_text(encoding="utf-8").splitlines()
            if "model name" in line
        ]
        model = names[0].strip() if names else model
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {usable} logical cores, instruction set {instruction_set}"


def timing(trained: Trained, figures: Mapping[str, float]) -> dict[str, Any]:
    """Return iterations, seconds and rate of each group, and the seconds of each figure, for JSON."""
    groups = {
        name: {
            "runs": len(group.runs),
            "iterations": group.iterations,
            "seconds": round(group.seconds, 3),
            "rate": None if math.isnan(group.rate) else round(group.rate),
        }
        for name, group in trained.groups.items()
    }
    return {
        "machine": machine(trained.instruction_set),
        "threads": trained.threads,
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in ("numpy", "torch")},
        },
        "interrupted": trained.interrupted,
        "seconds": round(trained.seconds, 3),
        "groups": groups,
        "figures": {name: round(seconds, 3) for name, seconds in figures.items()},
    }


def read_rates(path: Path) -> tuple[dict[str, float], str]:
    """Return the rates of a timing file by group, and its machine; nothing if it does not exist.

    Raises:
        ValueError: the file is no timing file.
    """
    if not path.exists():
        return {}, ""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rates = {name: float(group["rate"]) for name, group in content["groups"].items() if group["rate"]}
        return rates, str(content["machine"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"'{path}' holds no rates ({type(error).__name__}: {error}); remove it") from error


def expected_seconds(runs: Iterable[Run], rates: Mapping[str, float]) -> float:
    """Return the time that the distinct runs should take, NaN if the rate of a group is not known."""
    groups = grouped(runs)
    if not groups or any(name not in rates for name in groups):
        return math.nan
    return sum(total_iterations(members) / rates[name] for name, members in groups.items())


def in_words(seconds: float) -> str:
    """Return a duration such as "45 s", "3 min 20 s", "5 h", "12 days", or "unknown" for NaN."""
    if math.isnan(seconds):
        return "unknown"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if minutes < 10 else f"{minutes} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def rate_table(content: Mapping[str, Any]) -> str:
    """Return the groups of a timing as lines of text, with their model-iterations per second."""
    lines = [f"{'module-inputs':<16}{'runs':>8}{'iterations':>15}{'seconds':>10}{'model-iterations/s':>22}"]
    for name, group in content["groups"].items():
        rate = "" if group["rate"] is None else f"{group['rate']:,}"
        lines.append(
            f"{name:<16}{group['runs']:>8,}{group['iterations']:>15,}{group['seconds']:>10.1f}{rate:>22}"
        )
    runs, iterations = (
        sum(group[key] for group in content["groups"].values()) for key in ("runs", "iterations")
    )
    rate = f"{iterations / content['seconds']:,.0f}" if content["seconds"] else ""
    lines.append(f"{'all':<16}{runs:>8,}{iterations:>15,}{content['seconds']:>10.1f}{rate:>22}")
    return "\n".join(lines)
