"""Pictures of trainings on the adding problem: loss curves, and losses against the length of sequences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mathkernels.data import adding
from mathkernels.experiment import plots
from mathkernels.experiment.optional import load
from mathkernels.experiment.plots import COLORS, GRID, INK, MARKERS, STYLE

SOLVED = 1e-3  # validation error below which a run counts as solved
Row = Mapping[str, Any]


def loss_figure(rows: Sequence[Row]) -> Any:
    """Draw training and validation loss of every model against the epoch, and the baseline."""
    with load("matplotlib").rc_context(STYLE):
        figure = load("matplotlib.figure").Figure(figsize=(5.2, 3.4), layout="constrained")
        axis = figure.subplots()
        draw_losses(axis, rows)
        axis.set_title("Train/Validation loss vs epochs", fontsize=8, color=INK)
        axis.set_xlabel("Epoch", color=INK)
        axis.set_ylabel("Mean squared error", color=INK)
        plots.legend(figure, _LEGEND)
    return figure


_TRAIN, _VALID = {"color": COLORS[0], "lw": 1}, {"color": COLORS[1], "lw": 1}
_BASELINE = {"color": INK, "lw": 0.8, "ls": "--"}
_SOLVED = {"color": INK, "lw": 0.8, "ls": ":"}
_LEGEND = [("training", _TRAIN), ("validation", _VALID), ("always 1", _BASELINE)]


def draw_losses(axis: Any, rows: Sequence[Row], x: str = "epoch") -> None:
    """Draw the curves of every seed against the epoch or the updates."""
    for seed in dict.fromkeys(row["seed"] for row in rows):
        own = [row for row in rows if row["seed"] == seed]
        for column, style in (("loss", _TRAIN), ("val_loss", _VALID)):
            axis.plot([row[x] for row in own], [row[column] for row in own], alpha=0.8, **style)
    axis.axhline(adding.BASELINE, **_BASELINE)
    axis.set_yscale("log")
    axis.grid(axis="y", color=GRID, lw=0.5)
    axis.tick_params(colors=INK)
    axis.spines[["top", "right"]].set_visible(False)
    whole = load("matplotlib.ticker").MaxNLocator(nbins=5, integer=True)
    axis.xaxis.set_major_locator(whole)


def losses_figure(parts: Sequence[tuple[str, Sequence[Row]]]) -> Any:
    """Draw a panel of loss curves for each combination of a sweep: its title and rows of loss.csv."""
    columns = min(4, len(parts))
    lines = math.ceil(len(parts) / columns)
    title = max(name.count("\n") for name, _ in parts)  # lines besides the first
    with load("matplotlib").rc_context(STYLE):
        size = (2.2 * columns + 0.4, (1.8 + 0.12 * title) * lines + 0.5)
        figure = load("matplotlib.figure").Figure(figsize=size, layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for axis, (name, rows) in zip(axes, parts, strict=False):
            draw_losses(axis, rows, "updates")
            axis.set_title(name, fontsize=7, color=INK)
            axis.set_xlabel("Updates", color=INK)
        for axis in axes[len(parts) :]:
            axis.set_visible(False)
        for axis in axes[::columns]:
            axis.set_ylabel("Mean squared error", color=INK)
        plots.legend(figure, _LEGEND)
    return figure


def loss_vs_t_figure(rows: Iterable[Row], others: Sequence[str]) -> Any:
    """Draw the best validation loss of every run against T, the median as a line.

    Args:
        rows: of sweep.csv.
        others: what is varied besides t; each combination gets a colour and a marker.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(", ".join(f"{name} {row[name]}" for name in others), []).append(row)
    with load("matplotlib").rc_context(STYLE):
        figure = load("matplotlib.figure").Figure(figsize=(5.2, 3.4), layout="constrained")
        axis = figure.subplots()
        entries = []
        for index, (name, own) in enumerate(groups.items()):
            style = {
                "color": COLORS[index % 7],
                "marker": MARKERS[(index + index // 7) % 7],
                "ms": 4,
                "lw": 1,
            }
            lengths = sorted({row["t"] for row in own})
            each = [row["t"] for row in own], [row["best_val_loss"] for row in own]
            axis.plot(*each, **{**style, "lw": 0, "alpha": 0.5})
            middle = [np.median([row["best_val_loss"] for row in own if row["t"] == t]) for t in lengths]
            axis.plot(lengths, middle, **{**style, "marker": ""})
            entries.append((name or "runs and their median", style))
        axis.axhline(adding.BASELINE, **_BASELINE)
        axis.axhline(SOLVED, **_SOLVED)
        axis.set_yscale("log")
        axis.set_xticks(sorted({row["t"] for _, own in groups.items() for row in own}))
        axis.set_xlabel("Sequence length T", color=INK)
        axis.set_ylabel("Best validation loss", color=INK)
        axis.spines[["top", "right"]].set_visible(False)
        plots.legend(figure, [*entries, ("always 1", _BASELINE), ("solved below", _SOLVED)])
    return figure
