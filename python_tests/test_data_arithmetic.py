"""The arithmetic tasks: text forms, streams and samples against the published generator's values."""

import numpy as np
import pytest

from mathkernels.data.arithmetic import (
    MIXED_SIGNS,
    OPERATIONS,
    RANGES,
    Range,
    Task,
    parse_ranges,
    ranges_text,
)

TWO = Task(interpolation="U[1,2]", extrapolation="U[2,6]")
TEN = Task(interpolation="U[1,2]", extrapolation="U[2,6]", inputs=10)

OFFSETS_OF_TEN = [5, 5, 8, 8, 7, 3, 3, 4, 3, 5, 4, 0, 6, 2, 8, 8, 5, 1, 3, 5, 3, 8, 5, 3, 2]


@pytest.mark.parametrize(
    "text", ["U[-2,2]", "U[-6,-2] or U[2,6]", "U[0,1e-08]", "U[-1.2,-1.1]", "U[0.1,0.2]"]
)
def test_a_range_survives_its_own_text(text):
    assert str(Range.parse(text)) == text
    assert Range.parse(str(Range.parse(text))) == Range.parse(text)


def test_a_range_reads_the_axis_form_of_the_papers():
    assert Range.parse("U[-0.2,-0.1)") == Range(((-0.2, -0.1),))


@pytest.mark.parametrize("text", ["", "U[2]", "U[1,2", "[1,2]", "U[a,b]", "U[1,2] and U[3,4]", "U[1..2,3]"])
def test_a_malformed_range_is_refused_with_the_right_form(text):
    with pytest.raises(ValueError, match=r"needs the form 'U\[-2,2\]'"):
        Range.parse(text)


@pytest.mark.parametrize("intervals", [((2, 1),), ((1, 1),), ((0, np.inf),), ((np.nan, 1),)])
def test_a_range_needs_finite_increasing_bounds(intervals):
    with pytest.raises(ValueError, match="finite bounds with low < high"):
        Range(intervals)


@pytest.mark.parametrize("intervals", [(), ((0, 1), (2, 3), (4, 5))])
def test_a_range_has_one_or_two_intervals(intervals):
    with pytest.raises(ValueError, match="needs one or two"):
        Range(intervals)


def test_the_tables_hold_nine_ranges_and_five_sign_patterns():
    assert len(RANGES) == 9
    assert len(MIXED_SIGNS) == 5
    assert all(str(inside) == text for text, (inside, _) in RANGES.items())
    assert all(ranges_text(inside) == text for text, (inside, _) in MIXED_SIGNS.items())
    assert str(RANGES["U[-1.2,-1.1]"][1]) == "U[-6.1,-1.2]"


def test_offsets_equal_the_published_ones():
    assert [TEN.subsets(seed) for seed in range(25)] == [[(o,), (o + 1,)] for o in OFFSETS_OF_TEN]
    assert all(TWO.subsets(seed) == [(0,), (1,)] for seed in range(25))


@pytest.mark.parametrize(
    ("task", "seed", "stream"),
    [
        (TWO, 0, 2357136044),
        (TWO, 1, 1791095845),
        (TWO, 24, 4123242914),
        (TEN, 0, 3626093760),
        (TEN, 1, 4282876139),
        (TEN, 24, 1264583555),
    ],
)
def test_training_stream_seeds_equal_the_published_ones(task, seed, stream):
    assert task.training_stream_seed(seed) == stream


def test_the_first_training_sample_equals_the_published_one():
    x = TWO.samples(np.random.RandomState(TWO.training_stream_seed(0)), 128)
    # the digits that were printed
    np.testing.assert_allclose(x[0], [1.7941599629, 1.1598246241], rtol=0, atol=1e-9)


def test_evaluation_sets_start_with_the_published_samples():
    x, t = TWO.evaluation_set("validation", 0)
    assert x.shape == (10_000, 2)
    assert t.shape == (10_000,)
    assert x.dtype == t.dtype == np.float32
    np.testing.assert_allclose(x[:2], [[1.9180948720, 1.8816526295], [1.9913438312, 1.2103062139]], rtol=1e-7)
    x, t = TWO.evaluation_set("test", 0)
    np.testing.assert_allclose(x[:2], [[4.1330456790, 3.2642050692], [3.8788561312, 5.6060088174]], rtol=1e-7)
    assert abs(t.astype(np.float64).mean() - 1.1008129972) < 1e-7  # float32 rounding of 10,000 targets near 1


def test_a_test_set_of_two_intervals_starts_with_the_published_samples():
    task = Task(interpolation=RANGES["U[-2,2]"][0], extrapolation=RANGES["U[-2,2]"][1])
    x, _ = task.evaluation_set("test", 0)
    # sets are float32, of which seven digits are given
    np.testing.assert_allclose(
        x[:2], [[-3.8669543210, -4.7357949308], [-4.1211438688, 5.0854861183]], rtol=1e-7
    )


def test_evaluation_inputs_are_shared_by_all_seeds_and_targets_follow_the_offset():
    x0, t0 = TEN.evaluation_set("test", 0, n=50)
    x3, t3 = TEN.evaluation_set("test", 3, n=50)
    np.testing.assert_array_equal(x0, x3)
    # targets are rounded to float32
    np.testing.assert_allclose(t0, x0[:, 5] / x0[:, 6], rtol=1e-6)
    np.testing.assert_allclose(t3, x3[:, 8] / x3[:, 9], rtol=1e-6)


def test_targets_are_computed_before_the_inputs_are_rounded():
    task = Task(interpolation="U[-2,2]", extrapolation="U[2,6]")
    x = task.samples(np.random.RandomState(43953907), 10_000)
    np.testing.assert_array_equal(
        task.evaluation_set("validation", 0)[1], (x[:, 0] / x[:, 1]).astype(np.float32)
    )


@pytest.mark.parametrize(("inside", "outside"), MIXED_SIGNS.values(), ids=MIXED_SIGNS)
@pytest.mark.parametrize("inputs", [2, 10])
def test_mixed_signs_give_each_half_of_the_inputs_its_own_range(inside, outside, inputs):
    task = Task(interpolation=inside, extrapolation=outside, inputs=inputs)
    for which in ("interpolation", "extrapolation"):
        x = task.samples(np.random.RandomState(1), 500, which)
        ranges = getattr(task, which)
        for half, part in zip(
            (x[:, : inputs // 2], x[:, inputs // 2 :]), (ranges[0], ranges[-1]), strict=True
        ):
            within = [(half >= low) & (half <= high) for low, high in part.intervals]
            assert np.logical_or.reduce(within).all()
            assert all(each.any() for each in within)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_targets_sum_over_the_subsets(operation):
    task = Task(
        operation=operation,
        inputs=100,
        interpolation="U[1,2]",
        extrapolation="U[2,6]",
        subset_ratio=0.25,
        overlap_ratio=0.5,
    )
    first, second = task.subsets(7)
    assert len(first) == len(second) == 25
    assert len(set(first) & set(second)) == 12
    assert first == tuple(range(first[0], first[0] + 25))
    assert second[-1] < 100
    x = task.samples(np.random.RandomState(0), 5)
    a, b = x[:, first[0] : first[-1] + 1].sum(1), x[:, second[0] : second[-1] + 1].sum(1)
    right = {
        "add": a + b,
        "sub": a - b,
        "mul": a * b,
        "div": a / b,
        "reciprocal": 1 / a,
        "squared": a**2,
        "root": a**0.5,
    }
    # float64, sums of a few numbers in another order
    np.testing.assert_allclose(task.target(x, 7), right[operation], rtol=1e-12)


def test_a_reciprocal_of_one_input_has_one_subset_and_of_two_inputs_reads_the_first():
    one = Task(operation="reciprocal", inputs=1, interpolation="U[0,1]", extrapolation="U[0,1]")
    two = Task(operation="reciprocal", inputs=2, interpolation="U[0,1]", extrapolation="U[0,1]")
    assert one.subsets(3) == [(0,)]
    assert all(two.subsets(seed)[0] == (0,) for seed in range(10))


def test_equal_tasks_are_equal_and_hashable_whatever_form_their_ranges_had():
    assert Task(interpolation=Range(((1, 2),)), extrapolation=["U[2,6]"]) == TWO
    assert hash(Task(interpolation="U[1,2)", extrapolation="U[2, 6]")) == hash(TWO)
    assert parse_ranges("U[-2,-1] ; U[1,2]") == (Range(((-2, -1),)), Range(((1, 2),)))


def test_a_near_miss_of_an_operation_is_answered_with_a_suggestion():
    with pytest.raises(ValueError, match=r"Task.operation: got 'divide'.*did you mean 'div'\?"):
        Task(operation="divide", interpolation="U[1,2]", extrapolation="U[2,6]")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": 0}, "Task.inputs: got 0"),
        ({"inputs": 2.0}, "Task.inputs: got 2.0"),
        ({"inputs": 1}, "Task.inputs: got 1, needs at least 2"),
        ({"subset_ratio": 0.0}, "Task.subset_ratio: got 0.0"),
        ({"subset_ratio": 0.4}, "at least one of 2 inputs"),
        ({"subset_ratio": 1.0}, "Task.inputs: got 2, needs at least 4 to hold two subsets of 2"),
        ({"overlap_ratio": -0.1}, "Task.overlap_ratio: got -0.1"),
        ({"interpolation": "U[1,2] ; U[1,2] ; U[1,2]"}, "Task.interpolation: got 3 ranges"),
        ({"interpolation": "U[2,1]"}, "low < high"),
        ({"operation": "root", "interpolation": "U[-1,1]"}, "no negative values for 'root'"),
    ],
)
def test_an_impossible_task_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Task(**{"interpolation": "U[1,2]", "extrapolation": "U[2,6]", **changes})


def test_ranges_of_a_wrong_type_are_refused():
    with pytest.raises(TypeError, match="needs a Range, text like"):
        Task(interpolation=3, extrapolation="U[2,6]")  # pyright: ignore[reportArgumentType]


def test_wrongly_shaped_samples_and_set_names_are_refused():
    with pytest.raises(ValueError, match=r"x: got shape \(4, 3\), needs \(N, 2\)"):
        TWO.target(np.ones((4, 3)), 0)
    with pytest.raises(ValueError, match="which: got 'train'"):
        TWO.evaluation_set("train", 0)  # pyright: ignore[reportArgumentType]
