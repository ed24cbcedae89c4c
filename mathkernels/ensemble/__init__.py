"""Describe training runs of arithmetic modules and train all of them to the end inside one kernel."""

from mathkernels.data.arithmetic import CHALLENGING, MIXED_SIGNS, NEAR_ZERO, RANGES, Task
from mathkernels.data.distributions import Benford, Range, TruncatedNormal
from mathkernels.ensemble import modules
from mathkernels.ensemble.cluster.fit import LostWorkersError
from mathkernels.ensemble.describe import (
    SGD,
    Adam,
    Custom,
    CustomTensor,
    Norm,
    Ramp,
    Restarts,
    Run,
)
from mathkernels.ensemble.fitting import fit
from mathkernels.ensemble.modules import *  # noqa: F403
from mathkernels.ensemble.results import Results
from mathkernels.ensemble.run import Progress
from mathkernels.ensemble.seq2seq import Seq2SeqEnsemble
from mathkernels.ensemble.training import evaluate
from mathkernels.initial import Normal, Uniform

__all__ = [
    "CHALLENGING",
    "MIXED_SIGNS",
    "NEAR_ZERO",
    "RANGES",
    "SGD",
    "Adam",
    "Benford",
    "Custom",
    "CustomTensor",
    "LostWorkersError",
    "Norm",
    "Normal",
    "Progress",
    "Ramp",
    "Range",
    "Restarts",
    "Results",
    "Run",
    "Seq2SeqEnsemble",
    "Task",
    "TruncatedNormal",
    "Uniform",
    "evaluate",
    "fit",
]
__all__ += modules.__all__
