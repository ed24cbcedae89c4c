"""The functions of csrc/common/math.h and csrc/cells/gates.h, as tests and scripts measure them."""

import re
from pathlib import Path

import numpy as np

from mathkernels import _C

ROOT = Path(__file__).parent.parent
HEADERS = [ROOT / "csrc" / "common" / "math.h", ROOT / "csrc" / "cells" / "gates.h"]
FUSED = ("v3", "v4")  # instruction sets that have FMA
TINY = np.finfo(np.float32).tiny
LOWEST_GATE = np.float32(-41.5)  # below, a gate's sigmoid stays at 2^-60


def stated_bounds():
    """Function -> (ULP with FMA, ULP without)."""
    rows = [
        row
        for header in HEADERS
        for row in re.findall(r"^//   (\w+) +([\d.]+) +([\d.]+)  ", header.read_text(), re.MULTILINE)
    ]
    return {name: (float(fused), float(plain)) for name, fused, plain in rows}


def evaluate(function, x, w=None):
    x = np.ascontiguousarray(x)
    w = np.ones_like(x) if w is None else np.ascontiguousarray(w, dtype=x.dtype)
    y = np.full_like(x, 7777)
    pointers = [array.ctypes.data for array in (x, w, y)]
    _C.elementary(int(x.dtype == np.float64), _C.elementary_functions[function], x.size, *pointers)
    return y


def quarters(x):
    """x in quarter turns of pi: the whole number of halves modulo 4, and the rest, exactly."""
    turns = np.fmod(x.astype(np.float64), 2)
    whole = np.round(2 * turns)
    return whole.astype(np.int64) % 4, np.pi * (turns - whole / 2)


def exact_sinpi(x):
    quarter, rest = quarters(x)
    return np.choose(quarter, [np.sin(rest), np.cos(rest), -np.sin(rest), -np.cos(rest)])


def exact_cospi(x):
    quarter, rest = quarters(x)
    return np.choose(quarter, [np.cos(rest), -np.sin(rest), -np.cos(rest), np.sin(rest)])


def exact_sigmoid(x):
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


EXACT = {
    "exp": np.exp,
    "log": np.log,
    "log_normal": np.log,
    "sinpi": exact_sinpi,
    "cospi": exact_cospi,
    "tanh": np.tanh,
    "sigmoid": exact_sigmoid,
    "gate_sigmoid": exact_sigmoid,
    "gate_sigmoid_by_tanh": exact_sigmoid,
    "gate_tanh_by_sigmoid": np.tanh,
    "gate_tanh": np.tanh,
}


def domain(function, x):
    """Those of the floats x for which the header states an error."""
    x = x[np.isfinite(x)]
    if function == "log_normal":
        return x[x >= TINY]
    if function.startswith("gate_sigmoid"):
        return x[x >= LOWEST_GATE]
    return x[x >= 0] if function == "log" else x


def ulp(function, found, x, exact):
    """Errors in units in the last place of the exact value's float, less what x < 0 is allowed more."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    unit = np.spacing(np.minimum(np.abs(rounded), np.float32(2.0**127))).astype(np.float64)
    found, exact = (np.clip(v.astype(np.float64), -(2.0**128), 2.0**128) for v in (found, exact))
    error = np.abs(found - exact) / unit
    return error - np.maximum(-x, 0) if function.startswith("gate_sigmoid") else error
