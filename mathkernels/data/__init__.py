"""Data generators. They need numpy and torch only and know nothing of the kernels."""

from mathkernels.data.arithmetic import CHALLENGING, MIXED_SIGNS, NEAR_ZERO, OPERATIONS, RANGES, Task
from mathkernels.data.distributions import Benford, Range, TruncatedNormal

__all__ = [
    "CHALLENGING",
    "MIXED_SIGNS",
    "NEAR_ZERO",
    "OPERATIONS",
    "RANGES",
    "Benford",
    "Range",
    "Task",
    "TruncatedNormal",
]
