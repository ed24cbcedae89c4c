"""Division by small numbers with exact weights: the errors that modules make without any training (Figure 5).

Three tasks, nine ranges U[0, 10^-k], four modules: 108 test errors, and the published ones beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mathkernels.data.arithmetic import Task
from mathkernels.ensemble.describe import NMRU, NRU, Module, RealNPU
from mathkernels.experiment.optional import load
from mathkernels.experiment.plots import COLORS, GRID, INK, MARKERS, STRIP, STYLE, WIDTH, legend
from mathkernels.studies.arithmetic.exact import exact_error
from mathkernels.studies.division.published import EXACT_WEIGHT_ERRORS

COLUMNS = ("task", "range", "module", "test_error", "published", "ratio")
MODULES: dict[str, Module] = {
    "RealNPU": RealNPU(),
    "RealNPU (eps=0)": RealNPU(epsilon=0.0),
    "NRU": NRU(),
    "NMRU": NMRU(),
}
# task -> inputs, operation, title of its panel
TASKS = {
    "easy": (1, "reciprocal", "[a] → 1/a"),
    "medium": (2, "reciprocal", "[a,b] → 1/a"),
    "hard": (2, "div", "[a,b] → a/b"),
}
EXPONENTS = range(-8, 1)  # of the upper end of the range, in the order of the axis
AXIS = (1e-13, 1e20)


def exact_rows() -> list[dict[str, Any]]:
    """Return the 108 test errors with the published values and the ratio of ours to them."""
    rows = []
    for task, (inputs, operation, _) in TASKS.items():
        for exponent in EXPONENTS:
            ends = f"U[0,{10.0**exponent!r}]"
            described = Task(operation=operation, inputs=inputs, interpolation=ends, extrapolation=ends)
            for name, module in MODULES.items():
                ours = exact_error(module, described)
                published = EXACT_WEIGHT_ERRORS[task][exponent][name]
                label = f"U[0,1e{exponent:+d})"
                rows.append(
                    dict(zip(COLUMNS, (task, label, name, ours, published, ours / published), strict=True))
                )
    return rows


def exact_figure(rows: Sequence[Mapping[str, Any]], title: str) -> Any:
    """Draw the rows as the paper does: three panels, logarithmic errors, points joined by lines."""
    with load("matplotlib").rc_context(STYLE):
        figure = load("matplotlib.figure").Figure(figsize=(WIDTH, WIDTH * 0.42), layout="constrained")
        axes = figure.subplots(1, len(TASKS), sharey=True)
        for axis, (task, (_, _, name)) in zip(axes, TASKS.items(), strict=True):
            _panel(axis, [row for row in rows if row["task"] == task], f"{task}: {name}")
        axes[0].set_ylabel("log(Test error)", color=INK)
        axes[1].set_xlabel("Range", color=INK)
        figure.suptitle(title, fontsize=8, color=INK, x=0.01, ha="left")
        legend(figure, [(name, _style(index)) for index, name in enumerate(MODULES)])
    return figure


def _style(index: int) -> dict[str, Any]:
    return {
        "marker": MARKERS[index],
        "color": COLORS[index],
        "lw": 0.9,
        "ms": 3.0,
        "mec": "white",
        "mew": 0.3,
    }


def _panel(axis: Any, rows: Sequence[Mapping[str, Any]], name: str) -> None:
    axis.set_title(
        name, fontsize=7.5, color=INK, pad=4, bbox={"facecolor": STRIP, "edgecolor": "none", "pad": 3}
    )
    ranges = list(dict.fromkeys(row["range"] for row in rows))
    for index, module in enumerate(MODULES):
        errors = [row["test_error"] for row in rows if row["module"] == module]
        axis.plot(range(len(ranges)), errors, clip_on=False, **_style(index))
    axis.set_yscale("log")
    axis.set_ylim(*AXIS)
    axis.set_xticks(range(len(ranges)), ranges, rotation=45, ha="right", rotation_mode="anchor")
    axis.grid(axis="y", color=GRID, lw=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(colors=INK, width=0.6, length=2, labelsize=6.5)
    axis.spines[["top", "right"]].set_visible(False)
