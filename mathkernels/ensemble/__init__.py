"""Describe training runs of arithmetic modules and train all of them to the end inside one kernel."""

from mathkernels.data.arithmetic import CHALLENGING, MIXED_SIGNS, NEAR_ZERO, RANGES, Task
from mathkernels.data.distributions import Benford, Range, TruncatedNormal
from mathkernels.ensemble.cluster.fit import LostWorkersError
from mathkernels.ensemble.describe import (
    GNALU,
    INALU,
    MODULES,
    NAC,
    NALU,
    NAU,
    NMRU,
    NMU,
    NPU,
    NRU,
    SGD,
    Adam,
    Custom,
    CustomTensor,
    Linear,
    Module,
    NACMul,
    Norm,
    Ramp,
    RealNPU,
    Restarts,
    Run,
    Stack,
)
from mathkernels.ensemble.fitting import fit
from mathkernels.ensemble.results import Results
from mathkernels.ensemble.run import Progress
from mathkernels.ensemble.seq2seq import Seq2SeqEnsemble
from mathkernels.ensemble.training import evaluate
from mathkernels.initial import Normal, Uniform

__all__ = [
    "CHALLENGING",
    "GNALU",
    "INALU",
    "MIXED_SIGNS",
    "MODULES",
    "NAC",
    "NALU",
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
    "Custom",
    "CustomTensor",
    "Linear",
    "LostWorkersError",
    "Module",
    "NACMul",
    "Norm",
    "Normal",
    "Progress",
    "Ramp",
    "Range",
    "RealNPU",
    "Restarts",
    "Results",
    "Run",
    "Seq2SeqEnsemble",
    "Stack",
    "Task",
    "TruncatedNormal",
    "Uniform",
    "evaluate",
    "fit",
]
