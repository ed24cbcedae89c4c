"""Describe training runs of arithmetic modules and train all of them to the end inside one kernel."""

from mathkernels.data.arithmetic import CHALLENGING, MIXED_SIGNS, NEAR_ZERO, RANGES, Task
from mathkernels.data.distributions import Benford, Range, TruncatedNormal
from mathkernels.ensemble.describe import (
    MODULES,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    SGD,
    Adam,
    Module,
    Norm,
    Ramp,
    RealNPU,
    Run,
)
from mathkernels.ensemble.results import Results
from mathkernels.ensemble.sharding import LostWorkersError
from mathkernels.ensemble.training import Progress, evaluate, fit

__all__ = [
    "CHALLENGING",
    "MIXED_SIGNS",
    "MODULES",
    "NAU",
    "NEAR_ZERO",
    "NMRU",
    "NMU",
    "NPU",
    "NRU",
    "RANGES",
    "SGD",
    "Adam",
    "Benford",
    "LostWorkersError",
    "Module",
    "Norm",
    "Progress",
    "Ramp",
    "Range",
    "RealNPU",
    "Results",
    "Run",
    "Task",
    "TruncatedNormal",
    "evaluate",
    "fit",
]
