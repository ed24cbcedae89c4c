"""Arithmetic layers as torch modules under their papers' names; ``models=E`` makes E independent ones."""

from mathkernels.nn.real_npu import RealNPU
from mathkernels.nn.units import NAU, NMRU, NMU, NRU

__all__ = ["NAU", "NMRU", "NMU", "NRU", "RealNPU"]
