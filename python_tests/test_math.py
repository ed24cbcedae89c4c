"""The errors that csrc/common/math.h and csrc/cells/gates.h state, and special values, on every instruction
set.
"""

import math

import mpmath
import numpy as np
import pytest
from elementary_cases import EXACT, FUSED, TINY, domain, evaluate, stated_bounds, ulp

from mathkernels import _C

SAMPLES = 200_000
INF, NAN = np.inf, np.nan
LARGEST = float(np.finfo(np.float32).max)


# where scripts/sweep_elementary.py found the largest error of each
WORST = {}


def samples(function):
    """Finite floats of every exponent, and dense ones where the function bends."""
    generator = np.random.default_rng(1)
    patterns = generator.integers(0, 2**32, SAMPLES, dtype=np.uint32).view(np.float32)
    dense = [generator.uniform(-bound, bound, SAMPLES).astype(np.float32) for bound in (0.7, 3, 41, 110)]
    worst = np.array(WORST.get(function, []), np.float32)
    return domain(function, np.concatenate([patterns, *dense, worst]))


def positive():
    x = np.abs(samples("exp"))
    return x[x > 0]


def test_the_header_states_a_bound_for_every_function():
    assert set(stated_bounds()) == set(_C.elementary_functions)


@pytest.mark.parametrize("function", EXACT)
def test_float_errors_stay_within_the_stated_bounds(function, isa):
    fused, plain = stated_bounds()[function]
    x = samples(function)
    with np.errstate(all="ignore"):
        exact = EXACT[function](x.astype(np.float64))
    other = np.random.default_rng(4).normal(0, 10, x.size)
    error = ulp(function, evaluate(function, x, other), x, exact)
    assert error.max() <= (fused if isa in FUSED else plain), x[error.argmax()]


@pytest.mark.parametrize(("largest", "scale"), [(1, 1), (3, 1), (50, 5 / 1.6), (None, 32 / 1.6)])
def test_powers_stay_within_the_stated_bounds(largest, scale, isa):
    """Without a limit of |w|: powers of every size a float has, x near 1 among them."""
    fused, plain = stated_bounds()["pow_positive"]
    draw, x = np.random.default_rng(2), positive()
    if largest is None:
        x = np.concatenate([x, draw.uniform(0.5, 2, x.size).astype(np.float32)])
        with np.errstate(divide="ignore", over="ignore"):
            w = (draw.uniform(-103, 88.7, x.size) / np.log(x.astype(np.float64))).astype(np.float32)
        x, w = x[np.isfinite(w)], w[np.isfinite(w)]
    else:
        w = draw.uniform(-largest, largest, x.size).astype(np.float32)
    with np.errstate(all="ignore"):
        exact = x.astype(np.float64) ** w.astype(np.float64)
    error = ulp("pow_positive", evaluate("pow_positive", x, w), x, exact)
    at = error.argmax()
    assert error[at] <= (fused if isa in FUSED else plain) * scale, (x[at], w[at])


@pytest.mark.parametrize(("bound", "inwards"), [(LARGEST, -1), (TINY, -1), (TINY, 1), (2.0**-149, 1)])
def test_powers_reach_the_ends_of_the_range(bound, inwards, isa):
    """x^w just inside the largest number is finite, and just above the smallest it is not 0."""
    draw, x = np.random.default_rng(5), positive()
    x = x[np.abs(np.log(x.astype(np.float64))) > 1]
    with np.errstate(all="ignore"):
        # w to the nearest float moves the power by up to 88 * 2^-24 of itself
        power = math.log(bound) + inwards * draw.uniform(0, 1e-4, x.size)
        w = (power / np.log(x.astype(np.float64))).astype(np.float32)
        exact = x.astype(np.float64) ** w.astype(np.float64)
        inside = (exact <= LARGEST * (1 - 40 * 2.0**-24)) & (exact >= 2.0**-149)
        found = evaluate("pow_positive", x, w)
    assert inside.sum() > x.size / 3
    assert (np.isfinite(found) & (found > 0))[inside].all()


def exact_double(function, x, w):
    if function == "pow_positive":
        return mpmath.mpf(x) ** mpmath.mpf(w)
    if function.startswith("gate_"):
        function = function.split("_")[1]
    if function == "sigmoid":
        return 1 / (1 + mpmath.exp(-mpmath.mpf(x)))
    return getattr(mpmath, "log" if function == "log_normal" else function)(mpmath.mpf(x))


@pytest.mark.parametrize("function", [*EXACT, "pow_positive"])
def test_double_is_within_two_units_of_the_exact_value(function, isa):
    """libm's functions are within 1 ULP; what is made of them (sigmoid, sinpi, cospi) a little more."""
    draw = np.random.default_rng(3)
    x = np.concatenate(
        [draw.uniform(-30, 30, 150), draw.uniform(-1, 1, 150) * 10.0 ** draw.uniform(-300, 2, 150)]
    )
    w = draw.uniform(-3, 3, x.size)
    if function in ("log", "log_normal", "pow_positive"):
        x = np.abs(x)
    found = evaluate(function, x, w)
    with mpmath.workdps(60):
        for argument, power, value in zip(x, w, found, strict=True):
            exact = exact_double(function, argument, power)
            if 1e-300 < abs(exact) < 1e300:
                assert abs(exact - mpmath.mpf(float(value))) <= 4 * 2.0**-53 * abs(exact), (argument, power)


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
    cases: list[tuple[float, float, float]] = [
        (0, 0, 1),
        (0, 2, 0),
        (0, -2, INF),
        (INF, 2, INF),
        (INF, -2, 0),
        (INF, 0, 1),
        (1, 1e30, 1),
        (1, 0, 1),
    ]
    cases += [(1, INF, 1), (1, -INF, 1), (2, INF, INF), (2, -INF, 0), (0.5, INF, 0), (0.5, -INF, INF)]
    largest = float(np.finfo(dtype).max)
    cases += [(largest, 1, largest), (float(np.sqrt(dtype(largest))), 2, float(np.sqrt(dtype(largest))) ** 2)]
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
