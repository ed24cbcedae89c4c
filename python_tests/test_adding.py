"""The adding problem's sequences: what they hold, how they are drawn, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mathkernels.data import adding


def test_a_sequence_holds_numbers_two_marks_and_their_sum():
    sequences = adding.generate(500, 30, 0)
    x = sequences.inputs(slice(None))
    assert x.shape == (30, 500, 2)
    assert x.dtype == np.float32
    assert sequences.targets.dtype == np.float32
    assert (x[..., 0] >= 0).all()
    assert (x[..., 0] < 1).all()
    assert set(np.unique(x[..., 1])) == {0.0, 1.0}
    assert (x[..., 1].sum(axis=0) == 2).all()
    assert np.array_equal(sequences.targets, (x[..., 0] * x[..., 1]).sum(axis=0))


def test_rows_are_the_same_whoever_asks_for_them():
    sequences = adding.generate(20, 7, 3)
    rows = np.array([11, 2, 2, 19])
    assert np.array_equal(sequences.inputs(rows), sequences.inputs(slice(None))[:, rows])


def test_numbers_and_marks_are_uniform_over_the_sequence():
    count, steps = 40_000, 20
    sequences = adding.generate(count, steps, 1)
    pairs = np.zeros((steps, steps))
    np.add.at(pairs, tuple(sequences.marked.T), 1)
    assert (np.diag(pairs) == 0).all()
    expected = count / (steps * (steps - 1))
    square = ((pairs[~np.eye(steps, dtype=bool)] - expected) ** 2 / expected).sum()
    free = steps * (steps - 1) - 1
    assert abs(square - free) < 5 * np.sqrt(2 * free)  # five deviations of chi-square
    per_step = sequences.numbers.mean(axis=0)
    assert np.abs(per_step - 0.5).max() < 5 * np.sqrt(1 / 12 / count)


def test_always_answering_1_has_the_baseline_error():
    targets = adding.generate(200_000, 2, 0).targets.astype(np.float64)
    errors = (targets - 1) ** 2
    assert abs(errors.mean() - adding.BASELINE) < 5 * errors.std() / np.sqrt(len(errors))


def test_one_seed_repeats_and_another_or_the_other_part_does_not():
    drawn = adding.generate(50, 9, 4)
    again = adding.generate(50, 9, 4)
    assert np.array_equal(drawn.numbers, again.numbers)
    assert np.array_equal(drawn.marked, again.marked)
    for other in (adding.generate(50, 9, 5), adding.generate(50, 9, 4, "validate")):
        assert not np.isin(other.numbers, drawn.numbers).any()
        assert not np.array_equal(other.marked, drawn.marked)


def test_one_mark_per_half_changes_the_marks_and_not_the_numbers():
    anywhere, halves = adding.generate(300, 7, 0), adding.generate(300, 7, 0, one_per_half=True)
    assert np.array_equal(anywhere.numbers, halves.numbers)
    assert set(halves.marked[:, 0]) == {0, 1, 2}
    assert set(halves.marked[:, 1]) == {3, 4, 5, 6}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 0), "count is 0; needs at least 1"),
        ((3, 1, 0), "steps is 1; needs at least 2"),
        ((3, 5, -1), "seed is -1; needs at least 0"),
        ((3, 5, 0, "test"), "part is 'test'; needs one of 'train', 'validate'"),
    ],
)
def test_what_cannot_be_drawn_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        adding.generate(*arguments)
