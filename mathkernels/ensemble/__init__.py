"""Describe training runs of arithmetic modules and train all of them to the end inside one kernel."""

from mathkernels.data.arithmetic import MIXED_SIGNS, RANGES, Range, Task
from mathkernels.ensemble.describe import (
    MODULES,
    NAU,
    NMRU,
    NMU,
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
from mathkernels.ensemble.training import Progress, evaluate, fit

__all__ = [
    "MIXED_SIGNS",
    "MODULES",
    "NAU",
    "NMRU",
    "NMU",
    "NRU",
    "RANGES",
    "SGD",
    "Adam",
    "Module",
    "Norm",
    "Progress",
    "Ramp",
    "Range",
    "RealNPU",
    "Results",
    "Run",
    "Task",
    "evaluate",
    "fit",
]
