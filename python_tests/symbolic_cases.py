"""Pairs of symbolic integration, and trials of seconds."""

from __future__ import annotations

import random

from mathkernels.data.symbolic import prefix
from mathkernels.data.symbolic.pairs import Dropped, Pairs

SIZES = {"train": 60, "valid": 12, "test": 12}
CONFIG = """\
model_params:
{trials}
batch_size: 20
steps_per_epoch: 2
validation_steps: 1
learning_rate: 0.01
test_most: 4
max_length: 20
beams: [1, 2]
"""


def pairs(count, seed=0, method="bwd", most=2):
    """Different pairs of few operators."""
    draw, source = Pairs(method, most_operators=most, most_words=16).drawer(), random.Random(seed)
    found = {}
    while len(found) < count:
        try:
            problem, answer = draw(source)
        except Dropped:
            continue
        found.setdefault(problem, answer)
    return [*found.items()]


def lines(found):
    """Lines of a file."""
    return [
        f"{len(found) - k}|sub Y' {' '.join(prefix.words(problem))}\t{' '.join(prefix.words(answer))}"
        for k, (problem, answer) in enumerate(found)
    ]


def write(folder, method="bwd", seed=0):
    """The three files of a method."""
    (folder / method).mkdir(parents=True)
    found = lines(pairs(sum(SIZES.values()), seed))
    for split, size in SIZES.items():
        own, found = found[:size], found[size:]
        (folder / method / f"prim_{method}.{split}").write_text("\n".join(own) + "\n")
    return folder


def configuration(trials=1, epochs=2):
    """A configuration of so many trials."""
    kinds = [("adam", 4, "true"), ("RMSprop", 4, "false"), ("adam", 6, "false")]
    rows = []
    for number in range(trials):
        optimizer, units, is_gru = kinds[number % 3]
        own = f"epoch: {epochs}, optimizer: {optimizer}, num_units: {units}, is_gru: {is_gru}, num_heads: 2"
        rows.append(f"  trial_{number + 1}: {{{own}}}")
    return CONFIG.format(trials="\n".join(rows))
