"""Pictures of trials: curves side by side, and where a model attends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mathkernels.experiment import plots
from mathkernels.experiment.optional import load
from mathkernels.experiment.plots import COLORS, GRID, INK, MARKERS, STYLE

Row = Mapping[str, Any]
PANELS = (
    ("token_accuracy", "Token accuracy"),
    ("exact_match", "Exact match"),
    ("loss", "Cross-entropy of a word"),
)


def curves(rows: Mapping[str, Sequence[Row]]) -> Any:
    """Draw the epochs of trials: validation as lines, training dotted.

    Args:
        rows: by the name of the trial.
    """
    with load("matplotlib").rc_context(STYLE):
        figure = load("matplotlib.figure").Figure(figsize=(8.4, 3.0), layout="constrained")
        entries: list[tuple[str, dict[str, Any]]] = []
        for number, name in enumerate(rows):
            entries.append((name, {"color": COLORS[number % len(COLORS)], "lw": 1}))
        for axis, (column, label) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
            for (_, style), own in zip(entries, rows.values(), strict=True):
                x = [row["epoch"] for row in own]
                axis.plot(x, [row[f"val_{column}"] for row in own], **style)
                axis.plot(x, [row[column] for row in own], ls=":", color=style["color"], lw=0.8)
                best = min(own, key=lambda row: row["val_loss"])
                axis.plot(best["epoch"], best[f"val_{column}"], MARKERS[0], ms=3, color=style["color"])
            axis.set_xlabel("Epoch", color=INK)
            axis.set_ylabel(label, color=INK)
            axis.grid(axis="y", color=GRID, lw=0.5)
            axis.tick_params(colors=INK)
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_ylim(0, 1) if column != "loss" else axis.set_yscale("log")
        entries.append(("training", {"color": INK, "lw": 0.8, "ls": ":"}))
        entries.append(("best", {"color": INK, "lw": 0, "marker": MARKERS[0], "ms": 3}))
        plots.legend(figure, entries)
    return figure


def attention(maps: Sequence[tuple[str, Sequence[str], Sequence[str], np.ndarray]]) -> Any:
    """Draw how much each word of an answer attends to each of its problem, the mean over heads.

    Args:
        maps: a title, the problem's words (S), the answer's with its end (T), and weights (T,S).
    """
    with load("matplotlib").rc_context(STYLE):
        heights = [0.2 * len(answer) + 0.7 for _, _, answer, _ in maps]
        width = 1.5 + 0.26 * max(len(problem) for _, problem, _, _ in maps)
        size = (max(3.2, width), sum(heights) + 0.3)
        figure = load("matplotlib.figure").Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (title, problem, answer, weights) in zip(axes, maps, strict=True):
            axis.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="equal", interpolation="nearest")
            axis.set_anchor("W")
            axis.set_xticks(range(len(problem)), problem, fontsize=5, rotation=60, ha="right")
            axis.set_yticks(range(len(answer)), answer, fontsize=5)
            axis.set_title(title, fontsize=6, color=INK, loc="left")
            axis.tick_params(length=0, colors=INK)
    return figure
