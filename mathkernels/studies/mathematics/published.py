"""Exact match by module as others have published it, to stand beside ours.

The two rows of DeepMind (Saxton et al. 2019) are the Deep Math project's reading of bar charts, to about
0.02; the paper prints no table by module. The project's own are read off its figures, those of its
attentional model from a notebook that its page leaves out ("coming soon"): one epoch, batches of 512,
embeddings of 256.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Published(NamedTuple):
    """Exact match of one module; the project's simple LSTM after each of three epochs."""

    deepmind_simple: float
    epoch_1: float
    epoch_2: float
    epoch_3: float
    deepmind_attentional: float
    attentional_epoch_1: float


INTERPOLATE: Mapping[str, Published] = {
    "add_or_sub": Published(0.875, 0.53, 0.79, 0.85, 0.875, 0.6896),
    "add_or_sub_in_base": Published(0.90, 0.63, 0.86, 0.91, 0.925, 0.6763),
    "add_sub_multiple": Published(0.95, 0.40, 0.65, 0.58, 0.89, 0.2369),
    "div": Published(0.78, 0.62, 0.69, 0.71, 0.82, 0.5917),
    "mixed": Published(0.62, 0.24, 0.38, 0.39, 0.40, 0.1299),
    "mul": Published(0.45, 0.36, 0.44, 0.47, 0.55, 0.3914),
    "mul_div_multiple": Published(0.95, 0.64, 0.86, 0.84, 0.91, 0.4062),
    "nearest_integer_root": Published(0.875, 0.72, 0.75, 0.82, 0.90, 0.5604),
    "simplify_surd": Published(0.16, 0.03, 0.11, 0.17, 0.08, 0.0107),
}
EXTRAPOLATE: Mapping[str, Published] = {
    "add_or_sub_big": Published(0.30, 0.06, 0.20, 0.27, 0.82, 0.4660),
    "add_sub_multiple_longer": Published(0.55, 0.06, 0.16, 0.16, 0.22, 0.0455),
    "div_big": Published(0.625, 0.40, 0.47, 0.51, 0.64, 0.4275),
    "mixed_longer": Published(0.10, 0.01, 0.02, 0.04, 0.02, 0.0043),
    "mul_big": Published(0.225, 0.15, 0.22, 0.25, 0.31, 0.2311),
    "mul_div_multiple_longer": Published(0.55, 0.21, 0.26, 0.28, 0.34, 0.0557),
}
BY_SET = {"interpolate": INTERPOLATE, "extrapolate": EXTRAPOLATE}
# algebra__linear_1d, train-easy, plain sequence to sequence of 256 units: epoch -> validation exact match
LINEAR_1D = {
    1: 0.074,
    2: 0.121,
    5: 0.227,
    10: 0.382,
    20: 0.444,
    30: 0.446,
    40: 0.456,
    45: 0.742,
    50: 0.857,
    60: 0.913,
    75: 0.911,
}


def of(name: str, module: str) -> Published | None:
    """Return what is published of a module such as "arithmetic__mul" in a set, None for nothing."""
    return BY_SET.get(name, {}).get(module.partition("__")[2]) if module.startswith("arithmetic__") else None
