"""Data generators. They need numpy only and know nothing of the kernels."""

from mathkernels.data.arithmetic import MIXED_SIGNS, OPERATIONS, RANGES, Range, Task

__all__ = ["MIXED_SIGNS", "OPERATIONS", "RANGES", "Range", "Task"]
