"""The three-panel figure of the NALM papers: success rate, solved-at and sparsity error against the range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import replacing

PANELS = (("rate", "Success rate"), ("solved_at", "Solved at iteration step"), ("sparsity", "Sparsity error"))
WIDTH, HEIGHT = 19.6 / 2.54, 8.0 / 2.54  # inches; the papers' 19.6 x 8.0 cm
# Okabe and Ito's colours, told apart with any colour vision; the marker says it again in print
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, GRID, STRIP = "#333333", "#e3e3e3", "#ededed"


def three_panels(
    summary: Sequence[Mapping[str, Any]], title: str, xlabel: str = "Interpolation range"
) -> Any:
    """Draw the summary rows of a study (see ``report.SUMMARY_COLUMNS``) and return a matplotlib Figure.

    One dodged point with its interval per variant; the vertical axes are free and start at 0.
    """
    variants = list(dict.fromkeys(row["variant"] for row in summary))
    datasets = list(dict.fromkeys(row["range"] for row in summary))
    with load("matplotlib").rc_context({"font.size": 7, "axes.edgecolor": "#9a9a9a", "axes.linewidth": 0.6}):
        figure = load("matplotlib.figure").Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots(1, 3)
        for axis, (column, name) in zip(axes, PANELS, strict=True):
            for index, variant in enumerate(variants):
                offset = (index - (len(variants) - 1) / 2) * 0.7 / len(variants)
                _draw(
                    axis,
                    [row for row in summary if row["variant"] == variant],
                    datasets,
                    column,
                    index,
                    offset,
                )
            _finish(axis, column, name, datasets)
        axes[1].set_xlabel(xlabel, color=INK)
        figure.suptitle(title, fontsize=8, color=INK, x=0.01, ha="left")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(variants), 7), frameon=False)
    return figure


def _draw(
    axis: Any,
    rows: Sequence[Mapping[str, Any]],
    datasets: Sequence[str],
    column: str,
    index: int,
    offset: float,
) -> None:
    rows = [row for row in rows if not math.isnan(row[column])]
    color = COLORS[index % len(COLORS)]
    where = [datasets.index(row["range"]) + offset for row in rows]
    for x, row in zip(where, rows, strict=True):
        axis.plot(
            [x, x], [row[f"{column}_low"], row[f"{column}_high"]], color=color, alpha=0.5, lw=1.4, zorder=2
        )
    marker = MARKERS[index % len(MARKERS)]
    label = str(rows[0]["variant"]) if rows else None
    values = [row[column] for row in rows]
    axis.plot(
        where, values, marker, color=color, ms=3.2, mec="white", mew=0.4, label=label, zorder=3, clip_on=False
    )


def _finish(axis: Any, column: str, name: str, datasets: Sequence[str]) -> None:
    axis.set_title(
        name, fontsize=7.5, color=INK, pad=4, bbox={"facecolor": STRIP, "edgecolor": "none", "pad": 3}
    )
    axis.set_xticks(range(len(datasets)), [_half_open(text) for text in datasets], rotation=45, ha="right")
    axis.set_xlim(-0.6, len(datasets) - 0.4)
    for border in range(1, len(datasets)):
        axis.axvline(border - 0.5, color=GRID, lw=0.5, zorder=0)
    axis.grid(axis="y", color=GRID, lw=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(colors=INK, width=0.6, length=2, labelsize=6.5)
    axis.spines[["top", "right"]].set_visible(False)
    top = 1.03 if column == "rate" else None
    axis.set_ylim(0, top if top else max(axis.get_ylim()[1], 1e-6))
    if column == "solved_at":
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _half_open(text: str) -> str:
    """The papers print U[1,2) for U[1,2]."""
    return text.replace("]", ")")


def save(figure: Any, paths: Iterable[Path]) -> None:
    """Write the figure in the format of each path's suffix; each file is whole or absent."""
    for path in paths:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=300)
