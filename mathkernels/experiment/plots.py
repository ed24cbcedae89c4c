"""The look that figures of all studies share, and how they are saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mathkernels.experiment.optional import load
from mathkernels.experiment.run_folder import replacing

WIDTH, NARROW, HEIGHT = 19.6 / 2.54, 9.0 / 2.54, 8.0 / 2.54  # inches; the papers' 19.6 x 8.0 cm
# Okabe and Ito's colours, told apart with any colour vision; the marker says it again in print
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, GRID, STRIP = "#333333", "#e3e3e3", "#ededed"
STYLE = {"font.size": 7, "axes.edgecolor": "#9a9a9a", "axes.linewidth": 0.6}


def legend(figure: Any, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Put the entries below the figure, in as many columns as their names leave room for."""
    line = load("matplotlib.lines").Line2D
    handles = [line([], [], label=name, **style) for name, style in entries]
    room = figure.get_figwidth() / (0.35 + 0.07 * max(len(name) for name, _ in entries))
    columns = max(1, min(len(entries), 7, int(room)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def save(figure: Any, paths: Iterable[Path], dpi: int = 300) -> None:
    """Write the figure in the format of each path's suffix; each file is whole or absent."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out now, and alike in every format
    for path in paths:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=dpi)
