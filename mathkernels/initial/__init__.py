"""Initial values: widths after Glorot, He and the arithmetic units' papers; Keras' and chrono's for LSTMs."""

from mathkernels.initial.distributions import Initial, Normal, Uniform, draw_
from mathkernels.initial.widths import (
    accumulator_bound,
    constrained_bound,
    glorot_bound,
    glorot_deviation,
    he_bound,
)

__all__ = [
    "Initial",
    "Normal",
    "Uniform",
    "accumulator_bound",
    "constrained_bound",
    "draw_",
    "glorot_bound",
    "glorot_deviation",
    "he_bound",
]
