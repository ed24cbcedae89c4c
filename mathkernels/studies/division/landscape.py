"""The loss of two stacked layers with tied weights over a grid: where the second has walls (Figure 9).

A first, additive layer maps x = (1, 1.2, 1.8, 2) to Z = (w1 (x1 + x2), w1 (x1 + x2 + x3 + x4)). A second
layer with weights tied to w2 shall multiply the two, or divide the first by the second. The loss is the root
of the squared error. This setting is that of Mistry, Farrahi & Hare 2021; which modules, panels and axis
limits their Figure 9 shows was not found, so the choice of panels is this library's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mathkernels.experiment.optional import load
from mathkernels.experiment.plots import INK, STYLE, WIDTH

X = (1.0, 1.2, 1.8, 2.0)
GRID = np.arange(-100, 100) / 100  # of w1 and of w2: [-1, 1) in steps of 0.01
EPSILON32 = 2.0**-23
NAC_EPSILON = 0.1  # of the paper's script, which adds it to |Z| for every module it compares
CUT = 30.0  # of the loss axis: beyond it walls are drawn flat
COLUMNS = ("target", "module", "w1", "w2", "loss")

# A second layer: Z (2, N), weights of the two inputs (2, N) -> outputs (N,)
Layer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def nac(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """NAC.: exp(sum w ln(|z| + 0.1))."""
    return np.exp((w * np.log(np.abs(z) + NAC_EPSILON)).sum(axis=0))


def real_npu(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Real NPU with open gates: exp(sum w ln(|z| + eps)) cos(pi sum w [z < 0])."""
    size = np.exp((w * np.log(np.abs(z) + EPSILON32)).sum(axis=0))
    return size * np.cos(np.pi * (w * (z < 0)).sum(axis=0))


def nru(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """NRU in its training form: prod(sign(z) |z|^w T + 1 - T), T = tanh(1000 w)^2."""
    gate = np.tanh(1000 * w) ** 2
    return (np.sign(z) * np.abs(z) ** w * gate + 1 - gate).prod(axis=0)


def nmru(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """NMRU: magnitudes and a cosine of signs over [z, 1/z]; a negative weight is that of the reciprocal."""
    inputs = np.concatenate([z, 1 / (z + EPSILON32)])
    weights = np.concatenate([np.maximum(w, 0), np.maximum(-w, 0)])
    size = (np.abs(inputs) * weights + 1 - weights).prod(axis=0)
    return size * np.cos(np.pi * (weights * (inputs < 0)).sum(axis=0))


LAYERS: dict[str, Layer] = {"NAC.": nac, "Real NPU": real_npu, "NRU": nru, "NMRU": nmru}
# target -> its value, and the sign of w2 in the weight of the second input
TARGETS = {"product": ((X[0] + X[1]) * sum(X), 1.0), "quotient": ((X[0] + X[1]) / sum(X), -1.0)}


def losses(layer: Layer, target: str) -> np.ndarray:
    """Return the loss (200, 200), float64: w1 along the first axis of the grid and w2 along the second."""
    value, sign = TARGETS[target]
    w1, w2 = (axis.ravel() for axis in np.meshgrid(GRID, GRID, indexing="ij"))
    z = np.stack([w1 * (X[0] + X[1]), w1 * sum(X)])
    with np.errstate(
        divide="ignore", over="ignore", invalid="ignore"
    ):  # at w1 = 0 powers are infinite: walls
        output = layer(z, np.stack([w2, sign * w2]))
        return np.abs(value - output).reshape(len(GRID), len(GRID))


def landscape_rows() -> Iterator[dict[str, Any]]:
    """Yield the loss at every fifth point of every panel along both axes, to keep the table small."""
    grid = GRID[::5].tolist()
    for target in TARGETS:
        for name, layer in LAYERS.items():
            for w1, row in zip(grid, losses(layer, target)[::5, ::5].tolist(), strict=True):
                for w2, loss in zip(grid, row, strict=True):
                    yield dict(zip(COLUMNS, (target, name, w1, w2, loss), strict=True))


def landscape_figure(title: str) -> Any:
    """Draw a surface per module, targets in rows; losses above :data:`CUT` are drawn at it."""
    with load("matplotlib").rc_context(STYLE):
        figure = load("matplotlib.figure").Figure(figsize=(WIDTH * 1.1, WIDTH * 0.6), layout="constrained")
        axes = figure.subplots(len(TARGETS), len(LAYERS), subplot_kw={"projection": "3d"})
        w1, w2 = np.meshgrid(GRID, GRID, indexing="ij")
        for row, target in zip(axes, TARGETS, strict=True):
            cut = CUT if target == "product" else CUT / 10
            for axis, (name, layer) in zip(row, LAYERS.items(), strict=True):
                loss = np.minimum(np.nan_to_num(losses(layer, target), nan=cut, posinf=cut), cut)
                look = {"cmap": "Spectral", "vmin": 0, "vmax": cut, "rasterized": True}
                axis.plot_surface(w1, w2, loss, rcount=50, ccount=50, **look)
                axis.view_init(elev=45, azim=-45)
                axis.set(xlabel="w1", ylabel="w2", zlim=(0, cut))
                axis.set_title(f"{name}: {target}", fontsize=7.5, color=INK, pad=0)
                axis.tick_params(labelsize=5, pad=-3)
        figure.suptitle(title, fontsize=8, color=INK, x=0.01, ha="left")
    return figure
