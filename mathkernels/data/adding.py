"""The adding problem (Hochreiter & Schmidhuber 1997): the sum of the two marked numbers of a sequence.

A sequence has T steps of two values: a number drawn from U[0,1), and a mark that is 1 at two distinct steps
and 0 elsewhere; the two are uniform over the whole sequence. The target is the sum of the two marked numbers,
which lies in [0,2). Always answering 1 has the squared error `BASELINE`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mathkernels.data import ranges

BASELINE = 1 / 6  # the variance of a sum of two U[0,1)
RIGHT = 0.04  # Hochreiter & Schmidhuber count a sequence as right below this absolute error
_WORDING = "adding problem: {name} is {given}; needs {right}"
_STREAMS = {"train": 0, "validate": 1}


@dataclass(frozen=True)
class Sequences:
    """N sequences: numbers (N,T) float32, steps that are marked (N,2) int64, targets (N) float32.

    The marks are kept as steps, which halves the memory of the inputs as the net sees them.
    """

    numbers: np.ndarray
    marked: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def inputs(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return the inputs of B rows, (T,B,2) float32: numbers and marks."""
        numbers, marked = self.numbers[rows], self.marked[rows]
        x = np.zeros((numbers.shape[1], len(numbers), 2), np.float32)
        x[..., 0] = numbers.T
        x[marked, np.arange(len(numbers))[:, None], 1] = 1
        return x


def generate(
    count: int, steps: int, seed: int, part: str = "train", *, one_per_half: bool = False
) -> Sequences:
    """Return sequences of the adding problem; equal arguments give equal sequences.

    Numbers and marks have a stream each, both from the seed; another rule for marks leaves the numbers alone.

    Args:
        count: N.
        steps: T.
        seed: of both streams.
        part: "train" or "validate", which share no draws under one seed.
        one_per_half: one mark in the first T // 2 steps and one in the others, instead of anywhere.

    Raises:
        ValueError: a count outside 1 to 10**9, steps outside 2 to 10**9, a seed outside 0 to 2**63 - 1, or an
            unknown part.
    """
    count = ranges.whole("count", count, 1, ranges.MOST, _WORDING)
    steps = ranges.whole("steps", steps, 2, ranges.MOST, _WORDING)
    seed = ranges.whole("seed", seed, 0, ranges.LAST_SEED, _WORDING)
    if not isinstance(part, str) or part not in _STREAMS:
        raise ValueError(f"adding problem: part is {part!r}; needs one of {', '.join(map(repr, _STREAMS))}")
    streams = np.random.SeedSequence([seed, _STREAMS[part]]).spawn(2)
    of_numbers, of_marks = (np.random.Generator(np.random.PCG64(stream)) for stream in streams)
    numbers = of_numbers.random((count, steps), dtype=np.float32)
    marked = _marks(of_marks, count, steps, one_per_half)
    targets = np.take_along_axis(numbers, marked, axis=1).sum(axis=1)
    return Sequences(numbers, marked, targets)


def _marks(source: np.random.Generator, count: int, steps: int, one_per_half: bool) -> np.ndarray:
    """Return two distinct steps of each row, (N,2), all pairs of the rule equally likely."""
    if one_per_half:
        middle = steps // 2
        return np.stack([source.integers(0, middle, count), source.integers(middle, steps, count)], axis=1)
    first, second = source.integers(0, steps, count), source.integers(0, steps - 1, count)
    return np.stack([first, second + (second >= first)], axis=1)  # the second leaves out the first's place
