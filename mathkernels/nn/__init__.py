"""Arithmetic layers as torch modules under their papers' names; ``models=E`` makes E independent ones."""

from mathkernels.nn.accumulators import NAC, NACNMU, NACMul, NACSigma
from mathkernels.nn.nalu import GNALU, INALU, NALU
from mathkernels.nn.npu import NPU
from mathkernels.nn.real_npu import RealNPU
from mathkernels.nn.recurrent import RecurrentUnit
from mathkernels.nn.units import NAU, NMRU, NMU, NRU

__all__ = [
    "GNALU",
    "INALU",
    "NAC",
    "NACNMU",
    "NALU",
    "NAU",
    "NMRU",
    "NMU",
    "NPU",
    "NRU",
    "NACMul",
    "NACSigma",
    "RealNPU",
    "RecurrentUnit",
]
