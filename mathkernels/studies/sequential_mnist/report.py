"""What is reported of sequential MNIST (Madsen & Johansen 2020, section 4.2): thresholds, tables and figure.

A run is solved at a length if its test error there is below a threshold from reference runs, in which the
accumulator is the exact product or sum and only the convolutional net is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from mathkernels.experiment.optional import load
from mathkernels.experiment.plots import COLORS, GRID, INK, MARKERS, STYLE, legend
from mathkernels.experiment.statistics import wilson

REFERENCE = "exact"
CONFIDENCE = 0.99
SPREAD = 2.0  # a reference run with a validation error beyond this many medians did not learn the digits

RUN_COLUMNS = (
    *("data", "task", "variant", "unit", "z", "seed", "best_epoch", "valid_mse", "length", "test_mse"),
    *("zero_mse", "threshold", "success", "diverged"),
)
CURVE_COLUMNS = ("data", "task", "variant", "seed", "epoch", "step", "valid_mse", "penalty")
SUMMARY_COLUMNS = (
    *("data", "task", "variant", "length", "threshold", "n", "successes", "rate", "rate_low", "rate_high"),
    *("test_mse_median", "test_mse_low", "test_mse_high", "zero_mse"),
)

Row = Mapping[str, Any]


def variant(unit: str, z: float) -> str:
    """The name of a configuration in tables and figure."""
    return unit if z == 0 else f"{unit}, R_z {z:g}"


def thresholds(rows: Sequence[Row]) -> dict[int, float]:
    """Return by length the mean test error of the reference runs plus t(0.99, n - 1) sd / sqrt(n).

    The paper leaves out reference runs whose net did not learn the digits (products of two are nearly as well
    learned from digits of the wrong sign). Here these are the ones whose validation error is beyond twice the
    median of all. NaN where fewer than two runs are left.
    """
    own = [row for row in rows if row["unit"] == REFERENCE]
    if not own:
        return {}
    errors = {row["seed"]: float(row["valid_mse"]) for row in own}.values()
    limit = SPREAD * median([error for error in errors if math.isfinite(error)] or [0.0])
    found: dict[int, float] = {}
    for length in dict.fromkeys(row["length"] for row in own):
        kept = [row["test_mse"] for row in own if row["length"] == length and row["valid_mse"] <= limit]
        found[length] = _upper_bound(np.asarray(kept, np.float64))
    return found


def _upper_bound(sample: np.ndarray) -> float:
    if sample.size < 2:
        return math.nan
    quantile = float(load("scipy.stats").t.ppf(CONFIDENCE, sample.size - 1))
    return float(sample.mean() + quantile * sample.std(ddof=1) / math.sqrt(sample.size))


def judged(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the runs' rows with threshold and success, which is empty where there is no threshold."""
    limits = thresholds(rows)
    out = []
    for row in rows:
        limit = limits.get(row["length"], math.nan)
        success = "" if math.isnan(limit) else int(row["test_mse"] < limit)
        diverged = row.get("diverged", -1)
        own = {"threshold": limit, "success": success, "diverged": "" if diverged < 0 else diverged}
        out.append({**row, **own})
    return out


def summary_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return one row per variant and length of judged rows: success rate (Wilson, 95 %), spread of errors."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["variant"], row["length"]), []).append(row)
    out = []
    for (name, length), own in groups.items():
        errors = [math.inf if math.isnan(row["test_mse"]) else float(row["test_mse"]) for row in own]
        row = {"data": own[0]["data"], "task": own[0]["task"], "variant": name, "length": length}
        row |= {"threshold": own[0]["threshold"], "n": len(own), "zero_mse": own[0]["zero_mse"]}
        if all(one["success"] != "" for one in own):
            successes = sum(one["success"] for one in own)
            rate = wilson(successes, len(own))
            row |= {"successes": successes, "rate": rate.value, "rate_low": rate.low, "rate_high": rate.high}
        spread = {"median": median(errors), "low": min(errors), "high": max(errors)}
        out.append(row | {f"test_mse_{key}": value for key, value in spread.items()})
    return out


def table(summary: Sequence[Row]) -> str:
    """Return successes and median error of every variant by length, as text."""
    variants = list(dict.fromkeys(row["variant"] for row in summary))
    cells = {(row["variant"], row["length"]): row for row in summary}
    lines = [["length", "threshold", *variants]]
    for length in dict.fromkeys(row["length"] for row in summary):
        own = [cells.get((name, length)) for name in variants]
        limit = next(row["threshold"] for row in own if row)
        shown = "" if math.isnan(limit) else f"{limit:.3g}"
        lines.append([str(length), shown, *(_cell(row) for row in own)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    head = f"{summary[0]['task']}; data: {summary[0]['data']}; runs solved (median test MSE)"
    return "\n".join([head, "", text[0], "-" * len(text[0]), *text[1:]])


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    rate = f"{row['successes']}/{row['n']} " if "successes" in row else ""
    return f"{rate}({row['test_mse_median']:.3g})"


def figure(summary: Sequence[Row], train_length: int) -> Any:
    """Draw the test error of every variant against the length, median and range; a matplotlib Figure.

    Left the error itself, right its ratio to that of a model that always says 0. A threshold above 1 there
    tells nothing.
    """
    names = list(dict.fromkeys(row["variant"] for row in summary))
    lengths = list(dict.fromkeys(row["length"] for row in summary))
    with load("matplotlib").rc_context(STYLE):
        drawn = load("matplotlib.figure").Figure(figsize=(7.7, 3.4), layout="constrained")
        line = {"color": INK, "ls": "--", "lw": 1}
        for axis, relative in zip(drawn.subplots(1, 2), (False, True), strict=True):
            for index, name in enumerate(names):
                _draw(axis, summary, name, relative, _style(index))
            limits = {row["length"]: row["threshold"] / _unit(row, relative) for row in summary}
            axis.plot(list(limits), list(limits.values()), zorder=4, **line)
            axis.axvline(train_length, color=GRID, lw=3, zorder=0)
            axis.set_yscale("log")
            if max(lengths) > 100:
                axis.set_xscale("log")
            else:
                axis.set_xticks([length for length in lengths if length % 5 == 0])
            what = "Test MSE / MSE of always 0" if relative else "Test MSE over all prefixes"
            axis.set_ylabel(f"{what}: median, range", color=INK)
            axis.set_xlabel("Sequence length (training: grey line)", color=INK)
            axis.grid(axis="y", color=GRID, lw=0.5)
            axis.spines[["top", "right"]].set_visible(False)
        title = f"Sequential MNIST, {summary[0]['task']}; data: {summary[0]['data']}"
        drawn.suptitle(title, fontsize=8, color=INK, x=0.01, ha="left")
        legend(drawn, [*((name, _style(index)) for index, name in enumerate(names)), ("threshold", line)])
    return drawn


def _unit(row: Row, relative: bool) -> float:
    return row["zero_mse"] if relative else 1.0


def _style(index: int) -> dict[str, Any]:
    style = {"color": COLORS[index % len(COLORS)], "marker": MARKERS[(index + index // 7) % len(MARKERS)]}
    return {**style, "ms": 3.2, "mec": "white", "mew": 0.4, "lw": 1}


def _draw(axis: Any, summary: Sequence[Row], name: str, relative: bool, style: Mapping[str, Any]) -> None:
    """Draw one variant as far as its errors are finite."""
    rows = [row for row in summary if row["variant"] == name and math.isfinite(row["test_mse_high"])]
    length = [row["length"] for row in rows]
    middle, low, high = (
        [row[f"test_mse_{key}"] / _unit(row, relative) for row in rows] for key in ("median", "low", "high")
    )
    axis.fill_between(length, low, high, color=style["color"], alpha=0.15, lw=0)
    axis.plot(length, middle, **style)
