"""``python -m mathkernels.info``: what a bug report needs to know."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

import torch

from mathkernels import _C, backends


def _processor() -> str:
    """The processor's name; Linux keeps it in a file, elsewhere platform knows it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _found(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def report() -> dict[str, str]:
    """What is installed, built and in use, by name."""
    triton = "installed" if _found("triton") else "not installed (optional: pip install triton)"
    cuda = (
        "built" if _found("mathkernels._C_cuda") else "not built (needs nvcc and MATHKERNELS_CUDA=ON or AUTO)"
    )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
    return {
        "mathkernels": _C.version,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": f"{_processor()}, {os.cpu_count()} logical cores",
        "compiler": _C.compiler,
        "instruction sets built": ", ".join(backends.built()),
        "instruction sets of this machine": ", ".join(backends.available()),
        "instruction set in use": f"{backends.current()} ({backends.reason()})",
        "threads": str(torch.get_num_threads()),
        "CUDA kernels": cuda,
        "triton": triton,
        "GPU": gpu,
    }


if __name__ == "__main__":
    lines = report()
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {value}")
