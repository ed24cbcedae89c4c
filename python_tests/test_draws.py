"""What training makes of random bits: precise near 0, symmetric, and never what a module divides by."""

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mpmath")
import mpmath
from ensemble_cases import task

from mathkernels import _C, backends
from mathkernels.data.distributions import Benford, Range, TruncatedNormal, parse_distribution
from mathkernels.ensemble import NMRU, NMU, Adam, RealNPU, Run, fit
from mathkernels.ensemble.program import build_programs
from mathkernels.ensemble.streams import HALF, STEPS, avoided, mapping
from mathkernels.reference.ensemble import train
from mathkernels.reference.random import fused_multiply_add, samples
from mathkernels.studies.division.catalogue import FIGURES

ROOT = Path(__file__).parents[1]
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
FLAGS = {"generic": [], "v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4"]}
NORMALS = [
    *("TN(1,3)[-10,5]", "TN(-1,3)[-5,10]", "TN(0,1)[-5,5]", "TN(10,3)[5,15]", "TN(10,3)[-5,15]"),
    *("TN(2,1)[0,5]", "TN(0,1)[0.000001,5]", "TN(0,1)[-5,-0.000001]", "TN(0.001,7)[-1,1]", "TN(-4,2)[-9,9]"),
]


@pytest.fixture(scope="module", params=[name for name in FLAGS if name in backends.available()])
def driver(request, tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    program = tmp_path_factory.mktemp("driver") / "distribution"
    source, flags = ROOT / "csrc" / "tests" / "distribution.cpp", ["-O2", "-std=c++17", "-ffp-contract=off"]
    command = [compiler, *flags, *FLAGS[request.param], f"-I{ROOT / 'csrc'}", source, "-o", program]
    subprocess.run(command, check=True)
    return program


def drawn(driver, text, real, integers):
    """What the kernels make of random integers of 31 bits, and the mapping they are given."""
    part = parse_distribution(text)
    found = mapping(part, real)
    shape = np.zeros(_C.shape_numbers)
    shape[: len(found.shape)] = found.shape
    filled = np.resize(integers, -(-len(integers) // 64) * 64).astype(np.int32)
    kind = "1" if isinstance(part, TruncatedNormal) else "2"
    command = [driver, "float" if real == F32 else "double", kind]
    output = subprocess.run(
        command, input=shape.tobytes() + filled.tobytes(), capture_output=True, check=True
    )
    return np.frombuffer(output.stdout, real)[: len(integers)], found


def around(random, *centres):
    """Integers at all distances from the centres, and anywhere."""
    far = (2.0 ** random.uniform(0, 31, 60)).astype(np.int64)
    near = np.arange(-6, 6)
    picked = np.concatenate([np.add.outer(centres, np.concatenate([near, far, -far])).ravel()])
    return np.unique(np.clip(np.concatenate([picked, random.randint(0, STEPS, 60)]), 0, STEPS - 1))


def exact(text, integers):
    """The numbers in the middle of the steps, by 40 digits; see docs/random.md for the shift of the steps."""
    part = parse_distribution(text)
    with mpmath.workdps(40):
        mean, sd, low, high = (mpmath.mpf(v) for v in (part.mean, part.sd, part.low, part.high))
        below_low, below_high, below_zero = (mpmath.ncdf((v - mean) / sd) for v in (low, high, 0))
        step = (below_high - below_low) / STEPS
        zero = min(max(round((below_zero - below_low) / step), 0), STEPS)
        start = below_zero - zero * step if low <= 0 <= high else below_low
        found = []
        for k in integers:
            p = start + (int(k) + mpmath.mpf("0.5")) * step
            p = min(max(p, mpmath.mpf(10) ** -30), 1 - mpmath.mpf(10) ** -30)
            found.append(min(max(mean + sd * mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1), low), high))
    return found


@pytest.mark.parametrize("real", [F32, F64], ids=str)
@pytest.mark.parametrize("text", NORMALS)
def test_truncated_normals_keep_their_relative_precision_near_zero(driver, text, real):
    part, eps = parse_distribution(text), np.finfo(real).eps
    place = int(mapping(part, real).shape[9])
    integers = around(np.random.RandomState(1), place, 0, STEPS - 1)
    x, found = drawn(driver, text, real, integers)
    assert (x != 0).all()
    assert ((x >= real.type(part.low)) & (x <= real.type(part.high))).all()
    reach = found.shape[11]
    for k, got, wanted in zip(integers, x, exact(text, integers), strict=True):
        near = abs((int(k) - place) * found.shape[0] + found.shape[10]) <= reach
        # beyond the series mean + sd z: a few roundings of either, and those of the probability in z
        scale = abs(float(wanted)) * 4 + (0 if near else 8 * (abs(part.mean) + part.sd * 7))
        assert abs(float(got - wanted)) <= scale * eps, (k, got, float(wanted))


@pytest.mark.parametrize("real", [F32, F64], ids=str)
@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("TN(1,3)[-10,5]", "TN(-1,3)[-5,10]"),
        ("TN(0,1)[-5,5]", "TN(0,1)[-5,5]"),
        ("TN(0.3,2)[0,7]", "TN(-0.3,2)[-7,0]"),
        ("TN(10,3)[5,15]", "TN(-10,3)[-15,-5]"),
    ],
)
def test_a_mirrored_distribution_gives_the_mirrored_numbers(driver, text, mirrored, real):
    """But for roundings: integers k and -k - 1, counted from one place, are rounded to 24 bits each."""
    part, eps = parse_distribution(text), np.finfo(real).eps
    random = np.random.RandomState(2)
    integers = around(random, int(mapping(parse_distribution(text), real).shape[9]), STEPS // 2)
    one, _ = drawn(driver, text, real, integers)
    other, _ = drawn(driver, mirrored, real, STEPS - 1 - integers)
    near = np.abs(one) < 0.01 * part.sd  # where the series holds
    np.testing.assert_allclose(one[near], -other[near], rtol=4 * eps, atol=0)
    np.testing.assert_allclose(one, -other, rtol=4 * eps, atol=8 * eps * (abs(part.mean) + 7 * part.sd))


def test_benfords_integers_are_those_of_the_quantile(driver):
    integers = np.sort(np.random.RandomState(3).randint(0, STEPS, 5000))
    x, _ = drawn(driver, "B[10,100]", F64, integers)
    np.testing.assert_array_equal(x, Benford(10, 100).quantile((integers + 0.5) / STEPS))


def uniform(part, real, integers):
    """Stream numbers and what they become."""
    found = mapping(part, real)
    stream = (np.asarray(integers, np.int64) - found.anchor).astype(real)
    return stream, fused_multiply_add(stream, real.type(found.scale), real.type(found.offset))


def random_range(random):
    kind = random.randint(4)
    size = 10.0 ** random.uniform(-6, 4)
    if kind == 0:
        low, high = -size * random.uniform(), size * random.uniform()
    elif kind == 1:  # an end close to 0, or at it
        low, high = size * random.choice([0, 1e-9, 1e-6, 1e-4, 1e-2]), size
    elif kind == 2:
        low, high = random.choice([-2.0, -1.0, -50.0, -100.0]), random.choice([0.5, 2.0, 3.0, 50.0])
    else:
        low = size * random.uniform()
        high = low + size * random.uniform(1e-3, 1)
    return Range(((low, high) if random.randint(2) else (-high, -low),))


@pytest.mark.parametrize("real", [F32, F64], ids=str)
def test_no_number_of_a_uniform_range_is_zero_or_outside_it(real):
    random = np.random.RandomState(4)
    for _ in range(300):
        part = random_range(random)
        (low, high), found = part.intervals[0], mapping(part, real)
        integers = around(random, found.anchor, 0, STEPS - 1)
        _, x = uniform(part, real, integers)
        spacing = float(np.spacing(real.type(max(abs(low), abs(high)))))
        assert (x != 0).all(), part
        assert ((x >= low - spacing) & (x <= high + spacing)).all(), part
        if low > 0 or high < 0:
            assert (np.sign(x) == np.sign(low + high)).all(), part


@pytest.mark.parametrize("real", [F32, F64], ids=str)
def test_a_uniform_range_that_ends_near_zero_is_precise_there(real):
    for text in ("U[1e-9,1]", "U[-3,-2e-7]", "U[1e-4,1]", "U[-1,-0.01]"):
        part = parse_distribution(text)
        (low, high), found = part.intervals[0], mapping(part, real)
        width, steps = Fraction(high) - Fraction(low), np.array([0, 1, 2, 5, 1000, 2**20, 2**28])
        integers = steps if low > 0 else STEPS - 1 - steps
        _, x = uniform(part, real, integers)
        wanted = [Fraction(low) + (int(k) + Fraction(1, 2)) * width / STEPS for k in integers]
        for got, right in zip(x, wanted, strict=True):
            assert abs(Fraction(float(got)) / right - 1) <= 4 * Fraction(float(np.finfo(real).eps)), (
                text,
                got,
            )
        assert found.anchor in (0, STEPS - 1)


def test_the_papers_uniform_ranges_keep_their_streams():
    """Published results depend on these bits: the anchor is the place of 0, or the middle."""
    parts = {
        part
        for study in FIGURES.values()
        for inside, _ in study.datasets.values()
        for part in inside
        if isinstance(part, Range)
    }
    assert len(parts) > 15
    for part in parts:
        (low, high), found = part.intervals[0], mapping(part, F32)
        step = (high - low) / STEPS
        holds_zero = low <= 0 <= high
        assert found.anchor == (min(max(round(-low / step), 0), STEPS) if holds_zero else HALF)
        assert found.scale == step
        assert found.offset == (step / 2 if holds_zero else low + (HALF + 0.5) * step)
        assert avoided(part, NMRU().epsilon, F32) is None


@pytest.mark.parametrize("real", [F32, F64], ids=str)
def test_no_number_of_a_uniform_range_meets_minus_epsilon(real):
    """All integers near the place of -epsilon are tried; without the guard some of them meet it."""
    random, met = np.random.RandomState(5), 0
    for _ in range(400):
        part = random_range(random)
        low, _ = part.intervals[0]
        if low >= 0:
            continue
        found = mapping(part, real)
        integer = random.randint(0, STEPS)
        _, chosen = uniform(part, real, [integer])  # often an epsilon that a draw meets exactly
        epsilon = [-float(chosen[0]), 2.0**-23, -low * random.uniform()][random.randint(3)]
        if epsilon <= 0:
            continue
        place = round((-epsilon - found.offset) / found.scale) + found.anchor
        integers = np.clip(np.arange(place - 1500, place + 1500), 0, STEPS - 1)
        stream, x = uniform(part, real, integers)
        hit = x == real.type(-epsilon)
        guard = avoided(part, epsilon, real)
        met += bool(hit.any())
        if guard is None:
            assert not hit.any(), (part, epsilon)
            continue
        first, last, other = guard
        moved = np.where((stream >= first) & (stream <= last), real.type(other), stream)
        after = fused_multiply_add(moved, real.type(found.scale), real.type(found.offset))
        assert not (after + real.type(epsilon) == 0).any(), (part, epsilon)
        np.testing.assert_array_equal(after[~hit], x[~hit])  # no other draw is touched
        assert (after != 0).all()
        assert abs(float(after[hit][0]) + epsilon) <= 4 * found.scale + 4 * float(
            np.spacing(real.type(epsilon))
        )
    assert met > 50


@pytest.mark.parametrize("real", [F32, F64], ids=str)
def test_no_number_of_a_truncated_normal_comes_too_close_to_minus_epsilon(driver, real):
    random = np.random.RandomState(6)
    for text in NORMALS[:5]:
        part = parse_distribution(text)
        integers = around(random, int(mapping(part, real).shape[9]), STEPS // 2)
        x, _ = drawn(driver, text, real, integers)
        for chosen in random.choice(x[x < 0], 20) if (x < 0).any() else []:
            guard = avoided(part, -float(chosen), real)
            assert guard is not None
            first, last, other = guard
            assert first <= chosen <= last
            assert not first <= other <= last
            assert part.low <= other <= part.high
            assert other + real.type(-chosen) != 0


def division(**more):
    settings = {"seed": 3, "optimizer": Adam(lr=1e-2), "iterations": 3_000, "evaluate_every": 3_000}
    return Run(module=more.pop("module", NMRU()), clip_norm=1.0, **{**settings, **more})


def test_runs_on_truncated_normals_around_zero_stay_finite_on_both_sides():
    """Draws used to lie on multiples of 2^-25 there, -epsilon among them: 1 / (x + epsilon) was infinite."""
    tasks = [task(inputs=10, interpolation=text, extrapolation=text) for text in NORMALS[:2]]
    results = fit([division(task=each, seed=seed) for each in tasks for seed in range(8)])
    assert not results.diverged.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", ["U[-2,2]", "U[-1.7,-1e-5]", "TN(1,3)[-10,5]", "TN(-3,2)[-9,-1]"])
@pytest.mark.parametrize("inputs", [1, 2, 10])
def test_an_epsilon_that_draws_meet_leaves_runs_finite(inputs, text, dtype):
    """Each run's epsilon is minus a number of its first batch, as the reference draws it."""
    own = task("reciprocal" if inputs == 1 else "div", inputs, text, text)
    real = np.dtype(dtype)
    first = division(task=own, iterations=0, evaluate_every=1)
    x = samples(first, 0, dtype=real, generator="hash")
    epsilons = [-float(v) for v in np.unique(x[x < 0])[:: 1 + x.size // 40]]
    runs = [Run(**{**vars(first), "module": NMRU(epsilon=epsilon)}) for epsilon in epsilons]
    assert len(runs) > 10
    results = fit(runs, dtype=dtype)
    losses = [results.curves(i)["loss"][0] for i in range(len(runs))]
    assert np.isfinite(losses).all()
    assert not results.diverged.any()


@pytest.mark.parametrize("inputs", [1, 2, 3, 10])
def test_inputs_that_an_epsilon_carries_over_zero_are_not_taken_for_negative(inputs):
    """x + 0.5 is positive where x is -0.2: the sign of 1 / (x + epsilon) is not the sign of x."""
    ranges = {"interpolation": "U[-0.4,-0.1]", "extrapolation": "U[-0.9,-0.6]"}
    own = task("reciprocal" if inputs == 1 else "div", inputs=inputs, **ranges)
    run = division(module=NMRU(epsilon=0.5), task=own, iterations=20, evaluate_every=10)
    found = fit([run], dtype="float64")
    wanted = train(run, dtype=torch.float64).parameters["weight"].numpy()
    np.testing.assert_allclose(found.weights(0)["weight"], wanted.ravel(), rtol=1e-7)


def trained_on_sums_of_zero(module, inputs, dtype, criterion="mse", operation="div"):
    """Train with inputs that are 1 and -1 in turn, so that sums of two are 0."""
    own = task(operation, inputs, "U[-2,2]", "U[2,6]", spans=((0, 1), (0, 2)))
    if operation == "reciprocal":
        own = task(operation, inputs, "U[-2,2]", "U[2,6]", spans=((0, 2), (0, 2)))
    run = division(module=module, task=own, criterion=criterion, iterations=3, evaluate_every=3)
    (program,) = build_programs([run], dtype, "hash")
    program._scale_array[...] = 0
    program._offset_array[...] = np.where(np.arange(inputs) % 2, -1, 1)[:, None]
    program.advance_to(4)
    size = -(-_C.program_scratch_bytes(program.compiled) // 64) * 64
    memory = np.empty(size + 64, np.uint8)
    _C.train([program.compiled], -(-memory.ctypes.data // 64) * 64, size, 1)
    return program


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("inputs", [3, 10])
@pytest.mark.parametrize("operation", ["div", "reciprocal"])
def test_a_sum_that_is_exactly_zero_is_divided_by_as_the_least_sum(operation, inputs, dtype):
    program = trained_on_sums_of_zero(RealNPU(norm=None), inputs, dtype, operation=operation)
    loss = program.rows[0, 0, 0, 3]
    least = max(np.finfo(dtype).eps, 2.0**-30)  # half the spacing at 2, half a step
    assert np.isfinite(program.parameter[:, :, 0]).all()
    assert loss == pytest.approx(1 / float(least) ** 2, rel=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("inputs", [2, 10])
def test_a_percentage_of_a_target_of_zero_is_finite(inputs, dtype):
    own = task("add", inputs, "U[-2,2]", "U[2,6]", spans=((0, 1), (1, 1)))
    run = division(module=NMU(), task=own, criterion="mape", iterations=0, evaluate_every=1)
    (program,) = build_programs([run], dtype, "hash")
    program._scale_array[...] = 0
    program._offset_array[...] = np.where(np.arange(inputs) % 2, -1, 1)[:, None]
    program.advance_to(1)
    size = -(-_C.program_scratch_bytes(program.compiled) // 64) * 64
    memory = np.empty(size + 64, np.uint8)
    _C.train([program.compiled], -(-memory.ctypes.data // 64) * 64, size, 1)
    assert np.isfinite(program.parameter[:, :, 0]).all()
    assert np.isfinite(program.rows[0, 0, 0, 3])


@pytest.mark.parametrize(("text", "dtype"), [("U[0,1e-30]", "float32"), ("U[-1e-300,1e-300]", "float64")])
def test_a_range_whose_steps_the_type_cannot_divide_by_is_refused(text, dtype):
    run = division(task=task(interpolation=text, extrapolation="U[2,6]"))
    with pytest.raises(ValueError, match=r"Task.interpolation: got 'U\[.*needs a width of at least"):
        fit([run], dtype=dtype)


@pytest.mark.parametrize(
    ("ranges", "operation", "message"),
    [
        (
            {"extrapolation": "U[0,1e-46]"},
            "div",
            r"Task.extrapolation: got 'U\[0,1e-46\]', needs numbers that",
        ),
        (
            {"extrapolation": "U[1e39,1e40]"},
            "add",
            r"Task.extrapolation: .* of a size that float32 holds",
        ),
        (
            {"extrapolation": "U[1e20,1e21]"},
            "mul",
            r"Task.extrapolation: .* targets float32 holds, up to 3.4e",
        ),
        ({"extrapolation": "U[0,1e-39]"}, "reciprocal", r"Task.extrapolation: .* targets float32 holds"),
        ({"interpolation": "U[1e20,1e21]"}, "squared", r"Task.interpolation: .* targets float32 holds"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_set_that_float32_cannot_hold_is_refused(ranges, operation, message, dtype):
    def train():
        own = task(operation, **{"interpolation": "U[1,2]", "extrapolation": "U[2,6]", **ranges})
        fit([division(task=own)], dtype=dtype)

    with pytest.raises(ValueError, match=message):
        train()
