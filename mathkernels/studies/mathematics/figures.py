"""Pictures of a Deep Math training: bars by module and epoch, curves, and where the model attends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mathkernels.experiment import plots
from mathkernels.experiment.optional import load
from mathkernels.experiment.plots import COLORS, GRID, INK, MARKERS, STYLE
from mathkernels.experiment.run_folder import replacing
from mathkernels.studies.mathematics import published
from mathkernels.studies.mathematics.batches import EXTRAPOLATE, INTERPOLATE, VALID
from mathkernels.studies.mathematics.evaluation import modules_in

Row = Mapping[str, Any]
SECONDS = 1.0  # that a frame of the animation is shown
_TITLES = {INTERPOLATE: "Interpolation", EXTRAPOLATE: "Extrapolation", VALID: "Validation"}


def short(module: str) -> str:
    """Return a module's name as bars show it."""
    return module.partition("__")[2] or module


def bars(row: Row, kind: str, comparable: bool) -> Any:
    """Draw exact match by module after one epoch, a panel for each test set.

    Args:
        row: of the table.
        kind: of model.
        comparable: whether the data are as difficult as the published ones, which then stand beside ours.
    """
    sets = [name for name in (INTERPOLATE, EXTRAPOLATE) if modules_in(row, name)] or [VALID]
    counts = [len(modules_in(row, name)) for name in sets]
    with load("matplotlib").rc_context(STYLE):
        size = (1.6 + 0.75 * sum(counts), 3.4)
        figure = load("matplotlib.figure").Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(sets), squeeze=False, sharey=True, width_ratios=counts)[0]
        for axis, name in zip(axes, sets, strict=True):
            _panel(axis, row, name, kind, comparable)
        axes[0].set_ylabel("Exact match", color=INK)
        entries = [(f"{kind} LSTM, epoch {row['epoch']}", {"color": COLORS[1], "lw": 5})]
        if comparable:
            entries.insert(0, ("DeepMind, read off its charts", {"color": COLORS[0], "lw": 5}))
        plots.legend(figure, entries)
    return figure


def _panel(axis: Any, row: Row, name: str, kind: str, comparable: bool) -> None:
    names = modules_in(row, name)
    theirs = {one: _deepmind(name, one, kind) for one in names} if comparable else {}
    names.sort(key=lambda one: -(theirs.get(one) or 0.0))
    places = np.arange(len(names))
    width = 0.4 if comparable else 0.7
    ours = [row[f"{name}/{one}"] for one in names]
    drawn = [(places + (0.2 if comparable else 0), ours, COLORS[1])]
    if comparable:
        drawn.insert(0, (places - 0.2, [theirs[one] or 0.0 for one in names], COLORS[0]))
    for where, heights, color in drawn:
        axis.bar(where, heights, width, color=color)
        for place, height in zip(where, heights, strict=True):
            axis.text(place, height + 0.02, f"{height:.2f}", ha="center", fontsize=5, color=INK)
    axis.set_xticks(places, [short(one) for one in names], rotation=35, ha="right", fontsize=6)
    axis.set_ylim(0, 1.2)
    axis.set_title(_TITLES[name], fontsize=8, color=INK)
    axis.tick_params(colors=INK)
    axis.spines[["top", "right"]].set_visible(False)


def _deepmind(name: str, module: str, kind: str) -> float | None:
    found = published.of(name, module)
    if found is None:
        return None
    return found.deepmind_attentional if kind == "attentional" else found.deepmind_simple


def animate(frames: Sequence[Path], path: Path) -> None:
    """Write pictures one after the other as an animated GIF."""
    image = load("PIL.Image")
    opened = [image.open(frame).convert("RGB") for frame in frames]
    size = opened[0].size
    pictures = [one if one.size == size else one.resize(size) for one in opened]
    with replacing(path) as temporary:
        how = {"save_all": True, "append_images": pictures[1:], "duration": int(SECONDS * 1000), "loop": 0}
        pictures[0].save(temporary, **how)


def curves(rows: Sequence[Row], names: Sequence[str]) -> Any:
    """Draw exact match and loss of training and of each set against the epoch."""
    x = [row["epoch"] for row in rows]
    series = [("training", "exact_match", "loss")]
    series += [(_TITLES[name].lower(), f"{name}_exact_match", f"{name}_loss") for name in names]
    with load("matplotlib").rc_context(STYLE):
        figure = load("matplotlib.figure").Figure(figsize=(6.4, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        entries = []
        for number, (label, match, loss) in enumerate(series):
            style = {"color": COLORS[number], "marker": MARKERS[number], "ms": 3, "lw": 1}
            left.plot(x, [row[match] for row in rows], **style)
            right.plot(x, [row[loss] for row in rows], **style)
            entries.append((label, style))
        left.set_ylim(0, 1)
        for axis, label in ((left, "Exact match"), (right, "Cross-entropy of a character")):
            axis.set_xlabel("Epoch", color=INK)
            axis.set_ylabel(label, color=INK)
            axis.grid(axis="y", color=GRID, lw=0.5)
            axis.tick_params(colors=INK)
            axis.spines[["top", "right"]].set_visible(False)
        plots.legend(figure, entries)
    return figure


def attention(maps: Sequence[tuple[str, str, np.ndarray]]) -> Any:
    """Draw how much each character of an answer attends to each of its question.

    Args:
        maps: question, right answer with its end, and weights (characters, S).
    """
    with load("matplotlib").rc_context(STYLE):
        heights = [0.22 * len(answer) + 0.5 for _, answer, _ in maps]
        figure = load("matplotlib.figure").Figure(figsize=(6.8, sum(heights) + 0.4), layout="constrained")
        axes = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (question, answer, weights) in zip(axes, maps, strict=True):
            axis.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            axis.set_xticks(range(len(question)), [*question.replace(" ", "\N{OPEN BOX}")], fontsize=5)
            labels = ["end" if one == "\n" else one for one in answer]
            axis.set_yticks(range(len(answer)), labels, fontsize=5)
            axis.tick_params(length=0, colors=INK)
    return figure
