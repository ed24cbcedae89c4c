"""The figure of the NALM papers: panels of success rate, solved-at and sparsity error against the range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mathkernels.experiment.optional import load
from mathkernels.experiment.plots import (
    COLORS,
    GRID,
    HEIGHT,
    INK,
    MARKERS,
    NARROW,
    STRIP,
    STYLE,
    WIDTH,
    legend,
)
from mathkernels.studies.arithmetic.tables import non_finite_note

PANELS = {"rate": "Success rate", "solved_at": "Solved at iteration step", "sparsity": "Sparsity error"}


def panel_figure(
    summary: Sequence[Mapping[str, Any]],
    title: str,
    xlabel: str = "Interpolation range",
    panels: Sequence[str] = tuple(PANELS),
) -> Any:
    """Draw the summary rows of a study (see ``report.SUMMARY_COLUMNS``) and return a matplotlib Figure.

    One dodged point with its interval per variant; the vertical axes are free and start at 0. A note says how
    many runs end in NaN or infinity, if any do.
    """
    variants = list(dict.fromkeys(row["variant"] for row in summary))
    datasets = list(dict.fromkeys(row["range"] for row in summary))
    with load("matplotlib").rc_context(STYLE):
        size = (WIDTH if len(panels) > 1 else NARROW, HEIGHT)
        figure = load("matplotlib.figure").Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, column in zip(axes, panels, strict=True):
            _finish(axis, PANELS[column], datasets)
            drawn = [
                _draw(axis, summary, variants, datasets, index, column) for index in range(len(variants))
            ]
            _scale(axis, column, any(drawn))
        axes[len(axes) // 2].set_xlabel(xlabel, color=INK)
        note = non_finite_note(summary)
        figure.suptitle(f"{title}\n{note}" if note else title, fontsize=8, color=INK, x=0.01, ha="left")
        legend(figure, [(name, _style(index)) for index, name in enumerate(variants)])
    return figure


def _style(index: int) -> dict[str, Any]:
    # the eighth variant has the first colour again, but another marker
    marker, color = MARKERS[(index + index // len(COLORS)) % len(MARKERS)], COLORS[index % len(COLORS)]
    return {"marker": marker, "color": color, "ls": "", "ms": 3.4, "mec": "white", "mew": 0.4}


def _draw(
    axis: Any,
    summary: Sequence[Mapping[str, Any]],
    variants: Sequence[str],
    datasets: Sequence[str],
    index: int,
    column: str,
) -> bool:
    """Draw the points of one variant; return whether it has any."""
    rows = [row for row in summary if row["variant"] == variants[index] and not math.isnan(row[column])]
    dodge = (index - (len(variants) - 1) / 2) * 0.7 / len(variants)
    if rows:
        where = [datasets.index(row["range"]) + dodge for row in rows]
        low, high, middle = (
            [row[name] for row in rows] for name in (f"{column}_low", f"{column}_high", column)
        )
        style = _style(index)
        axis.vlines(where, low, high, color=style["color"], alpha=0.5, lw=1.4, zorder=2)
        axis.plot(where, middle, zorder=3, clip_on=False, **style)
    return bool(rows)


def _finish(axis: Any, name: str, datasets: Sequence[str]) -> None:
    strip = {"facecolor": STRIP, "edgecolor": "none", "pad": 3}
    axis.set_title(name, fontsize=7.5, color=INK, pad=4, bbox=strip)
    labels = [_half_open(text) for text in datasets]
    axis.set_xticks(range(len(datasets)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_xlim(-0.6, len(datasets) - 0.4)
    for border in range(1, len(datasets)):
        axis.axvline(border - 0.5, color=GRID, lw=0.5, zorder=0)
    axis.grid(axis="y", color=GRID, lw=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(colors=INK, width=0.6, length=2, labelsize=6.5)
    axis.spines[["top", "right"]].set_visible(False)


def _scale(axis: Any, column: str, drawn: bool) -> None:
    """Start the vertical axis at 0; where nothing is drawn, say why."""
    if column == "rate":
        axis.set_ylim(0, 1.03)
    else:
        axis.set_ylim(0, max(axis.get_ylim()[1], 1e-6))  # errors below are float32 rounding
    if column == "solved_at":
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if not drawn:
        axis.set_yticks([])
        middle = {"ha": "center", "va": "center", "transform": axis.transAxes}
        axis.text(0.5, 0.5, "no run solved", color=INK, **middle)


def _half_open(text: str) -> str:
    """The papers print U[1,2) for U[1,2]."""
    return text.replace("]", ")")
