"""The errors that the head of csrc/common/math.h states, and the special values, on every instruction set."""

import re
from pathlib import Path

import numpy as np
import pytest

from mathkernels import _C

HEADER = Path(__file__).parent.parent / "csrc" / "common" / "math.h"
SAMPLES = 200_000
TINY = np.finfo(np.float32).tiny
INF, NAN = np.inf, np.nan


def stated_bounds():
    """Function -> (ULP with FMA, ULP without)."""
    rows = re.findall(r"^//   (\w+) +([\d.]+) +([\d.]+)  ", HEADER.read_text(), re.MULTILINE)
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
}


def samples(function):
    """Finite floats of every exponent, and dense ones where the function bends."""
    generator = np.random.default_rng(1)
    patterns = generator.integers(0, 2**32, SAMPLES, dtype=np.uint32).view(np.float32)
    dense = [generator.uniform(-bound, bound, SAMPLES).astype(np.float32) for bound in (0.7, 3, 110)]
    x = np.concatenate([patterns, *dense])
    x = x[np.isfinite(x)]
    if function in ("log", "log_normal", "pow_positive"):
        x = np.abs(x)
    return x[x >= TINY] if function == "log_normal" else x[x > 0] if function == "pow_positive" else x


def worst_ulp(found, exact):
    """The largest error in units in the last place of the exact value's float."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    unit = np.spacing(np.minimum(np.abs(rounded), np.float32(2.0**127))).astype(np.float64)
    error = np.abs(
        np.clip(found.astype(np.float64), -(2.0**128), 2.0**128) - np.clip(exact, -(2.0**128), 2.0**128)
    )
    return (error / unit).max()


def test_the_header_states_a_bound_for_every_function():
    assert set(stated_bounds()) == set(_C.elementary_functions)


@pytest.mark.parametrize("function", EXACT)
def test_float_errors_stay_within_the_stated_bounds(function, isa):
    fused, plain = stated_bounds()[function]
    x = samples(function)
    with np.errstate(all="ignore"):
        exact = EXACT[function](x.astype(np.float64))
    assert worst_ulp(evaluate(function, x), exact) <= (fused if isa in ("v3", "v4") else plain)


@pytest.mark.parametrize(("largest", "scale"), [(1, 1), (3, 1), (50, 5 / 1.6)])
def test_powers_stay_within_the_stated_bounds(largest, scale, isa):
    fused, plain = stated_bounds()["pow_positive"]
    x = samples("pow_positive")
    w = np.random.default_rng(2).uniform(-largest, largest, x.size).astype(np.float32)
    with np.errstate(all="ignore"):
        exact = x.astype(np.float64) ** w.astype(np.float64)
    assert worst_ulp(evaluate("pow_positive", x, w), exact) <= (
        fused * scale if isa in ("v3", "v4") else plain
    )


@pytest.mark.parametrize("function", [*EXACT, "pow_positive"])
def test_double_is_libm(function, isa):
    generator = np.random.default_rng(3)
    x = generator.uniform(0.1, 9, 10_001)
    if function not in ("log", "log_normal", "pow_positive"):
        x = x * generator.choice([-1, 1], x.size)
    w = generator.uniform(-3, 3, x.size)
    exact = x**w if function == "pow_positive" else EXACT[function](x)
    np.testing.assert_allclose(evaluate(function, x, w), exact, rtol=1e-15, atol=1e-18)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sinpi_and_cospi_are_exact_at_half_integers(dtype, isa):
    halves = np.arange(-4096, 4097, dtype=dtype) / 2
    sines = np.array([0, 1, 0, -1], dtype=dtype)
    step = np.arange(-4096, 4097)
    assert np.array_equal(evaluate("sinpi", halves), sines[step % 4])
    assert np.array_equal(evaluate("cospi", halves), sines[(step + 1) % 4])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 64])  # left over after packs, and packs
def test_special_values(dtype, size, isa):
    cases = [
        ("exp", [0, -0.0, INF, -INF, 1e30, -1e30], [1, 1, INF, 0, INF, 0]),
        ("log", [1, 0, -0.0, INF, -1, -INF], [0, -INF, -INF, INF, NAN, NAN]),
        ("sinpi", [0, INF, -INF, 1e30], [0, NAN, NAN, 0]),
        ("cospi", [0, INF, -INF, 1e30], [1, NAN, NAN, 1]),
        ("tanh", [0, INF, -INF, 1e30], [0, 1, -1, 1]),
        ("sigmoid", [0, INF, -INF], [0.5, 1, 0]),
    ]
    for function, arguments, values in cases:
        for x, y in [*zip(arguments, values, strict=True), (NAN, NAN)]:
            found = evaluate(function, np.full(size, x, dtype))
            assert np.array_equal(found, np.full(size, y, dtype), equal_nan=True), (function, x, found[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 64])
def test_special_powers(dtype, size, isa):
    cases = [
        (0, 0, 1),
        (0, 2, 0),
        (0, -2, INF),
        (INF, 2, INF),
        (INF, -2, 0),
        (INF, 0, 1),
        (1, 1e30, 1),
        (1, 0, 1),
    ]
    cases += [
        (1e-44, 1, 1e-44),
        (2, 1e30, INF),
        (2, -1e30, 0),
        (0.5, 1e30, 0),
        (2, NAN, NAN),
        (3, 1, 3),
        (4, 0.5, 2),
    ]
    for x, w, y in cases:
        found = evaluate("pow_positive", np.full(size, x, dtype), np.full(size, w, dtype))
        assert np.array_equal(found, np.full(size, y, dtype), equal_nan=True), (x, w, found[0])
