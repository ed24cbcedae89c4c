"""Random streams: published answers, compiled streams word by word, mapping to ranges, neighbouring keys."""

import importlib.util
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
from mathkernels.reference.random import (
    GENERATORS,
    Mapping,
    fused_multiply_add,
    hash_bits,
    philox_words,
    uniforms,
)

ROOT = Path(__file__).parents[1]
DRIVER = {"s": 16, "t": 16, "b": 128, "i": 10}  # keys of csrc/tests/random_stream.cpp and how many of each
RANGES = [
    (-2.0, 2.0),
    (0.0, 1e-4),
    (-1e-4, 0.0),
    (1.0, 2.0),
    (-20.0, -10.0),
    (-1.2, -1.1),
    (0.1, 0.2),
    (-1.0, 3.0),
]


def load_neighbours():
    spec = importlib.util.spec_from_file_location(
        "random_neighbours", ROOT / "scripts" / "random_neighbours.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


neighbours = load_neighbours()


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, key, words):
    assert [int(word[0]) for word in philox_words(counter, key)] == list(words)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    program = tmp_path_factory.mktemp("driver") / "random_stream"
    source = ROOT / "csrc" / "tests" / "random_stream.cpp"
    subprocess.run([compiler, "-O2", "-std=c++17", f"-I{ROOT / 'csrc'}", source, "-o", program], check=True)
    return program


@pytest.mark.parametrize("order", ["stbi", "ibts"])
@pytest.mark.parametrize("generator", list(GENERATORS))
def test_the_compiled_streams_equal_the_reference_word_by_word(driver, generator, order):
    epochs, size = 2, int(np.prod(list(DRIVER.values())))
    with subprocess.Popen([driver, generator, order], stdout=subprocess.PIPE) as process:
        words = np.frombuffer(process.stdout.read(4 * size * epochs), np.uint32).reshape(epochs, -1)
        process.kill()
    indices = np.meshgrid(*(np.arange(DRIVER[name]) for name in reversed(order)), indexing="ij")
    key = dict(zip(reversed(order), indices, strict=True))
    for epoch in range(epochs):
        expected = GENERATORS[generator](key["s"], key["t"] + epoch * DRIVER["t"], key["b"], key["i"])
        np.testing.assert_array_equal(words[epoch], expected.ravel())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fused_multiply_add_rounds_once(dtype):
    draw = np.random.RandomState(0)
    a, b, c = (draw.standard_normal(2000) for _ in range(3))
    a, b, c = (v.astype(dtype) for v in (a, b, c * 10.0 ** draw.randint(-12, 12, 2000)))
    got = fused_multiply_add(a, b, c)
    assert got.dtype == dtype
    for x, y, z, found in zip(a, b, c, got, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        error = abs(Fraction(float(found)) - exact)
        for neighbour in (np.nextafter(found, dtype(np.inf)), np.nextafter(found, dtype(-np.inf))):
            assert error <= abs(Fraction(float(neighbour)) - exact)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_the_extreme_words_stay_inside_the_range_and_none_is_zero(low, high, dtype):
    mapping = Mapping.of(low, high, dtype)
    around = np.arange(-4, 4) + mapping.anchor
    words = np.concatenate([np.array([0, 1, 2**32 - 1]), np.clip(around, 0, 2**31 - 1) * 2]).astype(np.uint32)
    values = mapping(words)
    half_ulp = np.spacing(dtype(max(abs(low), abs(high)))) / 2
    assert values.dtype == dtype
    assert (values >= low - half_ulp).all()
    assert (values <= high + half_ulp).all()
    assert (values != 0).all()


@pytest.mark.parametrize(("low", "high"), [(-2.0, 2.0), (0.0, 1e-4), (-1e-4, 0.0)])
def test_numbers_near_zero_keep_their_relative_precision(low, high):
    mapping = Mapping.of(low, high)
    steps = np.array([0, 1, 2, 3, 10, 1000, 2**20])
    inside = mapping.anchor + steps if high > 0 else mapping.anchor - 1 - steps
    found = mapping((inside * 2).astype(np.uint32)).astype(np.float64)
    wanted = (steps + 0.5) * (high - low) / 2**31 * (1 if high > 0 else -1)
    # an anchored integer, a product and a sum in float32: four roundings of 2^-24
    np.testing.assert_allclose(found, wanted, rtol=2.0**-22)


@pytest.mark.parametrize("generator", list(GENERATORS))
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_uniforms_have_the_moments_of_their_range(low, high, generator):
    u = np.concatenate(
        [uniforms(1, t, 128, 10, [(low, high)], np.float64, generator) for t in range(100)]
    ).ravel()
    standard = (u - (low + high) / 2) / (high - low)
    assert abs(standard.mean()) < 5 / np.sqrt(12 * u.size)
    assert abs(standard.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / u.size)


@pytest.mark.parametrize("generator", list(GENERATORS))
def test_a_number_depends_on_its_four_keys_alone(generator):
    whole = uniforms(7, 3, 128, 10, [(1.0, 2.0)], generator=generator)
    part = uniforms(7, 3, 32, 4, [(1.0, 2.0)], generator=generator)
    np.testing.assert_array_equal(whole[:32, :4], part)
    for seed, iteration in ((8, 3), (7, 4)):
        other = uniforms(seed, iteration, 128, 10, [(1.0, 2.0)], generator=generator)
        assert (other != whole).mean() > 0.999


def test_each_input_has_its_own_range():
    u = uniforms(0, 0, 64, 2, [(-2.0, -1.0), (3.0, 4.0)])
    assert ((u[:, 0] <= -1) & (u[:, 0] >= -2) & (u[:, 1] >= 3) & (u[:, 1] <= 4)).all()


def test_wrong_generators_and_ranges_are_named():
    with pytest.raises(ValueError, match=r"generator: got 'xorwow', needs one of hash, philox"):
        uniforms(0, 0, 8, 2, [(0.0, 1.0)], generator="xorwow")
    with pytest.raises(ValueError, match=r"ranges: got 3, needs one for all inputs or one for each of 2"):
        uniforms(0, 0, 8, 2, [(0.0, 1.0)] * 3)


def quick(generator):
    return neighbours.findings(generator, shape=(2, 16, 128, 16), lags=(1, 8), flipped=2**13, groups=16)


@pytest.mark.parametrize("generator", list(GENERATORS))
def test_neighbouring_keys_look_independent(generator):
    worst, passed = neighbours.verdict(quick(GENERATORS[generator]))
    assert passed, worst


def fixed_steps(seed, iteration, sample, input):
    """The hash as it was first: a fixed difference between neighbouring inputs survives two rounds."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    z = (np.asarray(seed, np.uint64) + np.uint64(1)) * golden
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) + np.asarray(iteration, np.uint64) * golden
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    counter = np.asarray(sample, np.uint32) + (np.asarray(input, np.uint32) << np.uint32(20))
    x = counter * np.uint32(0x9E3779B9) + z.astype(np.uint32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    x = ((x ^ (x >> np.uint32(15))) + (z >> np.uint64(32)).astype(np.uint32)) * np.uint32(0x735A2D97)
    return x ^ (x >> np.uint32(16))


def iteration_left_out(seed, iteration, sample, input):
    return hash_bits(seed, np.asarray(iteration) // 2, sample, input)


def weak_low_bits(seed, iteration, sample, input):
    return hash_bits(seed, iteration, sample, input) * np.uint32(2)


@pytest.mark.parametrize("defect", [fixed_steps, iteration_left_out, weak_low_bits])
def test_planted_defects_are_found(defect):
    worst, passed = neighbours.verdict(quick(defect))
    assert not passed, worst
