"""Thresholds agree with the published ones as far as simulation, printed digits and rounding allow."""

import csv
import math
import re

import numpy as np
import pytest

from mathkernels.data.arithmetic import RANGES
from mathkernels.data.distributions import Range
from mathkernels.data.thresholds import (
    COLUMNS,
    SAMPLES,
    TWO_LAYERS,
    Setup,
    division_rows,
    one_layer_threshold,
    two_layer_threshold,
)
from mathkernels.ensemble.describe import EPSILON
from mathkernels.studies.arithmetic import thresholds

# Madsen & Johansen 2020, as printed, in the order of TWO_LAYERS; simulated with 10^6 samples.
PUBLISHED = [
    *("1.478e-5", "1.385e-8", "0.16005", "4.955e-12", "0.15947", "8.953e-9"),
    *("2.667e-8", "2.664e-8", "2.157e-6"),
    *("0.02885", "0.07582", "0.16001", "2.22e-3"),
    *("0.16003", "2.308e-4", "0.05076", "9.204e-4", "0.10528", "505.5"),
    *("7.10e-8", "1.51e-5", "6.14e-4", "0.01003", "0.05082"),
    *(".3912", ".8116", "1.503", "2.562", "4.105", "6.258", "9.162", "12.97"),
]


def half_a_digit(printed: str) -> float:
    """Half a unit of the last printed digit."""
    digits, _, power = printed.partition("e")
    return 0.5 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def agree(setup: Setup, printed: str, samples: int, inclusive: bool = True) -> bool:
    """Whether the simulation is within five standard errors of both simulations and the printed digits."""
    found = two_layer_threshold(setup, samples=samples, inclusive=inclusive)
    error = found.error * math.sqrt(1 + samples / SAMPLES)  # theirs follows from ours
    # cut off instead of rounded, some printed values are off by a whole digit
    return abs(found.value - float(printed)) <= 5 * error + 2 * half_a_digit(printed)


@pytest.mark.parametrize(("setup", "printed"), list(zip(TWO_LAYERS, PUBLISHED, strict=True)))
def test_a_simulated_threshold_equals_the_published_one(setup, printed):
    assert agree(setup, printed, 40_000)


def test_as_many_samples_as_published_agree_too():
    setup = next(each for each in TWO_LAYERS if each.inputs == 10)
    assert agree(setup, "1.51e-5", SAMPLES)


def test_the_published_subsets_have_one_input_more_than_those_of_training():
    default = TWO_LAYERS[0]
    assert default.subsets(inclusive=False) == (slice(0, 25), slice(13, 38))
    assert default.subsets(inclusive=True) == (slice(0, 26), slice(13, 39))
    assert not agree(default, PUBLISHED[0], 40_000, inclusive=False)
    # a + b is off by e (2 S - 2 a - 2 b): an input of both subsets counts -2, of one 0, of none 2
    counts = np.array([2 - 4] * 12 + [2 - 2] * 26 + [2] * 62)
    mean, variance = 4.0, 16 / 12
    exact = 1e-10 * ((counts.sum() * mean) ** 2 + (counts**2).sum() * variance)
    found = two_layer_threshold(default, samples=40_000, inclusive=False)
    assert abs(found.value - exact) <= 5 * found.error


def test_the_same_seed_gives_the_same_threshold():
    setup = TWO_LAYERS[2]
    one, same, other = (two_layer_threshold(setup, samples=1000, seed=seed) for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(("low", "high"), [(20, 40), (2, 6), (1.2, 6.1), (0.2, 2), (1.2, 6)])
def test_one_layer_thresholds_equal_their_closed_forms(low, high):
    e = 1e-4
    square, reciprocal = (high**3 - low**3) / (3 * (high - low)), 1 / (low * high)
    sums = 4 * ((low + high) / 2) ** 2 + 2 * (high - low) ** 2 / 12
    closed = {"add": e**2 * sums, "sub": e**2 * sums, "mul": ((1 - e) ** 2 - 1) ** 2 * square**2}
    closed["div"] = (2 * e / (1 + e)) ** 2 * square * reciprocal
    for operation, value in closed.items():
        for part in (Range(((low, high),)), Range(((-high, -low),))):
            found = one_layer_threshold(operation, part, samples=20_000)
            assert abs(found.value - value) <= 5 * found.error, operation
    ten = one_layer_threshold("mul", Range(((low, high),)), inputs=10, samples=1000)
    assert ten.value > closed["mul"]  # irrelevant inputs add to the perturbation


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"^samples: got 1, needs"):
        two_layer_threshold(TWO_LAYERS[0], samples=1)
    with pytest.raises(ValueError, match=r"^operation: got 'root', needs add"):
        one_layer_threshold("root", Range(((1, 2),)))


# the commands


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_setups_of_the_division_paper_are_listed(tmp_path, capsys):
    out = tmp_path / "setups.csv"
    assert thresholds.main(["generate_exp_setups", "--out", str(out)]) == 0
    rows = read(out)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 4 * len(RANGES)
    assert {float(row["epsilon"]) for row in rows} == {1e-5}
    assert {row["input.size"] for row in rows} == {"2"}
    labels = [row["extrapolation.range"] for row in rows if row["operation"] == "div"]
    assert labels == [str(outside).replace(" or ", " & ") for _, outside in RANGES.values()]
    assert thresholds.main(["generate_exp_setups", "--distributions", "--out", str(out)]) == 0
    assert [row["extrapolation.range"] for row in read(out)] == [
        *("U[100,1000]", "U[-15,-5]", "U[5,15]", "U[-100,-50] & U[50,100]", "U[-200,-100] & U[100,200]")
    ]
    assert capsys.readouterr().out == f"36 rows → {out}\n5 rows → {out}\n"
    assert [row["operation"] for row in division_rows(distributions=True)] == ["div"] * 5


def test_the_two_layer_table_is_written_with_its_errors(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mathkernels.data.thresholds.TWO_LAYERS", TWO_LAYERS[:3])
    out = tmp_path / "two.csv"
    base = ["two_layers", "--samples", "1000", "--out", str(out)]
    assert thresholds.main(base) == 0
    published = [float(row["threshold"]) for row in read(out)]
    assert published == [two_layer_threshold(setup, samples=1000).value for setup in TWO_LAYERS[:3]]
    assert thresholds.main([*base, "--exact-subsets"]) == 0
    assert published != [float(row["threshold"]) for row in read(out)]
    with pytest.raises(SystemExit):
        thresholds.main(["two_layers", "--samples", "0", "--out", str(out)])
    assert "samples: got 0" in capsys.readouterr().err
    assert len(read(out)) == 3  # the earlier table stays


# Mistry, Farrahi & Hare 2021: error of exact weights + 2^-23; Real NPU, NRU, NMRU on U[0,1e-4] … U[0,1]
SMALL_NUMBERS = {
    "easy": """1152671285248 8.673844e-4 3.669190e-3   2046348544 4.256203e-5 4.197092e-5
               490999.34 3.636781e-7 3.635247e-7   55.245338 1.206475e-7 1.206476e-7
               5.590016e-3 1.192550e-7 1.192546e-7""",
    "medium": """1310328487936 8.080074e-4 2.808002e-3   3463408640 9.268072e-6 9.268088e-6
                 1115022.125 1.759751e-7 1.759752e-7   132.185699 1.262983e-7 1.262986e-7
                 1.345053e-2 1.192429e-7 1.192429e-7""",
    "hard": """2531.3877 1.192188e-7 3.272902e-2   401.33441 1.192417e-7 8.967732e-5
               8.685083 1.192301e-7 5.591544e-7   0.09694124 1.192300e-7 1.373560e-7
               9.814719e-4 1.192308e-7 1.192278e-7""",
}


def test_division_by_small_numbers_equals_the_published_thresholds(tmp_path):
    """Real NPU: the epsilon in |x| + 2^-23 makes the error, rounding of exp and log only its last digits.
    NMRU: products and reciprocals round alike everywhere; the sum of 10,000 float32 errors does not.
    NRU: the error is rounding alone, that of the power function: at most 1.6 ULP (see csrc/common/math.h),
    against the half ULP of a good library; squared, and doubled as these are bounds.
    """
    out = tmp_path / "small.csv"
    assert thresholds.main(["division_by_small_numbers", "--out", str(out)]) == 0
    rows = read(out)
    factor = 2 * (1.6 / 0.5) ** 2
    assert tuple(rows[0]) == thresholds.SMALL_NUMBER_COLUMNS
    printed = [float(value) for text in SMALL_NUMBERS.values() for value in re.split(r"\s+", text)]
    for row, published in zip(rows, printed, strict=True):
        threshold, error = float(row["threshold"]), float(row["error"])
        assert threshold == error + EPSILON
        match row["module"]:
            case "RealNPU":
                assert threshold == pytest.approx(published, rel=1e-4), row
            case "NMRU":
                assert threshold == pytest.approx(published, rel=2e-6), row
            case "NRU":
                floor = 1e-10  # hard: a quotient near 1 rounds to 1e-11, cut off from the printed 1.192e-7
                assert error <= factor * max(published - EPSILON, floor), row
                assert published - EPSILON <= factor * max(error, floor), row
