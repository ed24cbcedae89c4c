"""Figures of the equation learner: curves over epochs, mistakes, and what the first units do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from mathkernels.data.equation_sets import Part
from mathkernels.experiment.optional import load
from mathkernels.experiment.plots import COLORS, GRID, INK, STYLE

SCATTER_DPI = 256
BINS = 10
GREEN, RED = "#009E73", "#C00000"


def _axes(width: float, height: float) -> tuple[Any, Any]:
    figure = load("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def curves(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], title: str, ylabel: str) -> Any:
    """Draw columns of the curve over epochs; a line per network, and their median where there are several.

    Args:
        rows: of the curve.
        columns: what the legend calls each column.
        title, ylabel: texts.
    """
    with load("matplotlib").rc_context(STYLE):
        figure, axis = _axes(5.0, 3.4)
        epochs = sorted({row["epoch"] for row in rows})
        for color, (column, name) in zip(COLORS, columns.items(), strict=False):
            seeds = dict.fromkeys(row["seed"] for row in rows)
            for seed in seeds if len(seeds) > 1 else ():
                own = [row for row in rows if row["seed"] == seed]
                place, value = [row["epoch"] for row in own], [row[column] for row in own]
                axis.plot(place, value, color=color, lw=0.5, alpha=0.3)
            values: dict[int, list[float]] = {epoch: [] for epoch in epochs}
            for row in rows:
                values[row["epoch"]].append(row[column])
            middle = [median(values[epoch]) for epoch in epochs]
            axis.plot(epochs, middle, color=color, lw=1.2, label=name)
        axis.set_title(title, color=INK)
        axis.set_xlabel("epoch", color=INK)
        axis.set_ylabel(ylabel, color=INK)
        axis.grid(axis="y", color=GRID, lw=0.5)
        if "acc" in ylabel:
            axis.legend(loc="lower right", frameon=False)
        else:
            axis.set_yscale("log")
            axis.legend(loc="upper right", frameon=False)
    return figure


def scatter(part: Part, wrong: np.ndarray, title: str) -> Any:
    """Draw the first operand against the second, a dot per equation: right ones green, wrong (N) ones red."""
    with load("matplotlib").rc_context(STYLE):
        figure, axis = _axes(6.0, 6.0)
        numbers = np.array([one.numbers[:2] for one in part.equations])
        # of the article, but for mistakes that are seen among 20,000 dots
        for own, color, alpha in ((~wrong, GREEN, 0.33), (wrong, RED, 1.0)):
            axis.scatter(*numbers[own].T, s=20, alpha=alpha, color=color, edgecolors="none")
        axis.set_xlabel("x1", color=INK)
        axis.set_ylabel("x2", color=INK)
        axis.set_title(title, color=INK)
    return figure


def histogram(errors: Sequence[float], title: str) -> Any:
    """Draw by how much wrong answers are off; more than nine, or no number, is in the last bin."""
    with load("matplotlib").rc_context(STYLE):
        figure, axis = _axes(5.0, 3.0)
        clipped = [BINS if error != error else min(int(np.ceil(error)), BINS) for error in errors]
        counts = np.bincount(clipped, minlength=BINS + 1) if clipped else np.zeros(BINS + 1, int)
        axis.bar(range(BINS + 1), counts, color=COLORS[0])
        axis.set_xticks(range(BINS + 1), [*map(str, range(BINS)), f"{BINS}+"])
        axis.set_xlabel("|target - prediction|", color=INK)
        axis.set_ylabel("answers", color=INK)
        axis.set_title(title, color=INK)
    return figure


def neurons(units: np.ndarray, characters: Sequence[str], title: str) -> Any:
    """Draw outputs (T,2H) of the first LSTM's units as each character is read: blue -1, white 0, red 1."""
    with load("matplotlib").rc_context(STYLE):
        figure, axis = _axes(7.0, 2.6)
        _heat(figure, axis, units)
        axis.set_yticks(range(len(units)), characters)
        axis.set_xlabel("unit of the first LSTM, forward then backward", color=INK)
        axis.set_title(title, color=INK)
    return figure


def neuron(unit: np.ndarray, texts: Sequence[str], title: str) -> Any:
    """Draw the output (n,T) of a single unit while it reads several questions, with their characters."""
    with load("matplotlib").rc_context(STYLE):
        figure, axis = _axes(4.2, 0.24 * len(texts) + 0.8)
        _heat(figure, axis, unit)
        for row, text in enumerate(texts):
            for column, character in enumerate(text):
                axis.text(column, row, character, ha="center", va="center", color=INK)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_title(title, color=INK)
    return figure


def _heat(figure: Any, axis: Any, values: np.ndarray) -> None:
    image = axis.imshow(values, cmap="bwr", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axis, fraction=0.05)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
