"""Where a figure was measured."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mathkernels import info

TELLING_FLAGS = ("avx2", "fma", "avx512f", "avx512dq", "avx512vl", "avx512_bf16", "amx_bf16", "asimd", "sve")


def _flags() -> list[str]:
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return [flag for flag in TELLING_FLAGS if flag in line.split()]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def fingerprint() -> dict[str, Any]:
    """Return processor, flags, versions, load and time of the measurement."""
    return {
        **info.report(),
        "processor flags": _flags(),
        "usable processors": len(os.sched_getaffinity(0)),
        "numpy": _version("numpy"),
        "jax": _version("jax"),
        "numba": _version("numba"),
        "load before": [round(value, 2) for value in os.getloadavg()],
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
