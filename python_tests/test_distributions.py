"""Distributions of inputs: what they sample, how they are written, what they refuse."""

import re

import numpy as np
import pytest
import scipy.stats

from mathkernels.data import CHALLENGING, MIXED_SIGNS, NEAR_ZERO, RANGES, Benford, Task, TruncatedNormal
from mathkernels.data.distributions import FIRST_DIGITS, parse_distribution, parse_ranges, ranges_text

EVERY = [
    *(
        ranges
        for table in (CHALLENGING, MIXED_SIGNS, NEAR_ZERO)
        for pair in table.values()
        for ranges in pair
    ),
    *((part,) for pair in RANGES.values() for part in pair),
]


@pytest.mark.parametrize("ranges", EVERY, ids=ranges_text)
def test_text_and_distribution_are_inverses(ranges):
    assert parse_ranges(ranges_text(ranges)) == ranges


@pytest.mark.parametrize(
    ("paper", "ours"),
    [
        ("B:[10,100)", "B[10,100]"),
        ("TN(-1,3):[-5,10)", "TN(-1,3)[-5,10]"),
        ("U:[-50,50)", "U[-50,50]"),
    ],
)
def test_the_labels_of_the_papers_axes_are_read(paper, ours):
    assert str(parse_distribution(paper)) == ours


@pytest.mark.parametrize(
    "text", ["TN(0)[1,2]", "TN(0,1)", "B[10]", "B(10,100)", "TN(0,1)[1;2]", "N(0,1)[1,2]"]
)
def test_a_malformed_text_is_refused_with_the_right_form(text):
    with pytest.raises(ValueError, match=re.escape(f"range: got {text!r}, needs the form")):
        parse_distribution(text)


@pytest.mark.parametrize(
    "mean_sd_low_high", [(0, 1, -5, 5), (-1, 3, -5, 10), (10, 3, 5, 15), (-10, 1, -15, -5)]
)
def test_a_truncated_normal_samples_as_scipys_does(mean_sd_low_high):
    """Both send one uniform number per entry through the quantile function; they round differently."""
    mean, sd, low, high = mean_sd_low_high
    ours = TruncatedNormal(mean, sd, low, high).sample(np.random.RandomState(3), (2000, 2))
    shares = np.random.RandomState(3).uniform(size=(2000, 2))
    theirs = scipy.stats.truncnorm.ppf(shares, (low - mean) / sd, (high - mean) / sd, loc=mean, scale=sd)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9 * sd)
    assert (ours >= low).all()
    assert (ours <= high).all()


@pytest.mark.parametrize("low", [10, 100, 1000])
def test_benford_integers_have_the_first_digits_of_benford(low):
    x = Benford(low, 10 * low).sample(np.random.RandomState(1), (100_000,))
    assert (x == np.rint(x)).all()
    assert x.min() >= low
    assert x.max() < 10 * low
    digits, counts = np.unique(x // low, return_counts=True)
    assert digits.tolist() == list(range(1, 10))
    assert scipy.stats.chisquare(counts, 100_000 * np.array(FIRST_DIGITS)).pvalue > 1e-4
    rest = x - digits[np.searchsorted(digits, x // low)] * low
    assert rest.min() == low // 10  # the digit behind the first is never 0, as in the published generator


def test_the_quantile_of_benford_gives_every_integer_its_chance():
    x = Benford(10, 100).quantile((np.arange(90_000) + 0.5) / 90_000)
    values, counts = np.unique(x, return_counts=True)
    assert len(values) == 81
    wanted = [FIRST_DIGITS[int(v) // 10 - 1] / 9 for v in values]
    # each end of an interval of the quantile lies within one step of the grid
    np.testing.assert_allclose(counts / 90_000, wanted, atol=2 / 90_000)
    assert (np.diff(x) >= 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TruncatedNormal(0, 0, -1, 1), "TruncatedNormal.mean, sd: got (0, 0)"),
        (lambda: TruncatedNormal(0, 1, 1, 1), "TruncatedNormal.low, high: got (1, 1)"),
        (lambda: TruncatedNormal(0, 1, 60, 70), "needs an interval that the normal reaches"),
        (lambda: Benford(1, 10), "Benford.low, high: got (1, 10), needs 10^k"),
        (lambda: Benford(10, 1000), "Benford.low, high: got (10, 1000)"),
        (lambda: Benford(15, 150), "Benford.low, high: got (15, 150)"),
    ],
)
def test_an_impossible_distribution_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("spans", [((0, 3),), ((0, 2), (2, 3)), ((0, 0), (1, 1)), "ab", ((-1, 2), (0, 1))])
def test_spans_outside_the_inputs_are_refused_by_name(spans):
    with pytest.raises(ValueError, match=re.escape(f"Task.spans: got {spans!r}, needs two pairs")):
        Task(interpolation="U[1,2]", extrapolation="U[2,6]", inputs=4, spans=spans)


def test_spans_say_which_inputs_are_added():
    task = Task(
        interpolation="U[1,2]", extrapolation="U[2,6]", operation="mul", inputs=4, spans=((0, 4), (0, 2))
    )
    x = np.array([[1.0, 2.0, 3.0, 4.0]])
    assert task.target(x, seed=7).tolist() == [10.0 * 3.0]
