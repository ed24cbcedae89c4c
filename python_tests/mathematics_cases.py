"""Small data folders in the layout of the mathematics data set, and samplers that hang or fail."""

from __future__ import annotations

import random
import time
from types import SimpleNamespace

import numpy as np

MODULES = ("arithmetic__add_or_sub", "arithmetic__mul")
TRAIN = ("train-easy", "train-medium", "train-hard")


def pairs(module, count, seed, low=0, high=9):
    """Sums or products of whole numbers, some of them in words."""
    source = np.random.default_rng(seed)
    found = []
    for a, b, form in zip(
        *source.integers(low, high + 1, (2, count)), source.integers(0, 2, count), strict=True
    ):
        plus = module.endswith("add_or_sub") or "add_or_sub" in module
        question = (f"What is {a} + {b}?", f"{a} + {b}") if plus else (f"Multiply {a} and {b}.", f"{a}*{b}")
        found.append((question[form], str(a + b if plus else a * b)))
    return found


def text(rows, newline="\n", last=True):
    whole = newline.join(line for row in rows for line in row)
    return whole + (newline if last else "")


def write(root, count=60, test=20, modules=MODULES, folders=TRAIN):
    """Write a data folder; extrapolation has larger numbers."""
    for number, folder in enumerate((*folders, "interpolate", "extrapolate")):
        (root / folder).mkdir(parents=True)
        for place, module in enumerate(modules):
            last = folder == "extrapolate"
            own = pairs(
                module, test if number >= len(folders) else count, (number, place), 10 * last, 9 + 90 * last
            )
            name = module + "_big" if last else module
            (root / folder / f"{name}.txt").write_text(text(own))
    return root


def problem():
    a, b = random.randint(0, 99), random.randint(0, 99)
    return SimpleNamespace(question=f"{a} + {b}", answer=a + b)


def hanging():
    """One question in ten waits for ever, which takes no time of the processor."""
    if random.random() < 0.1:
        time.sleep(1000)
    return problem()


def slow():
    """One question in ten computes for ever."""
    endless = random.random() < 0.1
    while endless:
        pass
    return problem()


def failing():
    if random.random() < 0.3:
        raise ValueError("no solution")
    return SimpleNamespace(question="x" * random.randint(1, 300), answer=1)


KINDS = {"problem": problem, "hanging": hanging, "slow": slow, "failing": failing}


def samplers(folder, difficulty):
    return {f"arithmetic__{name}": one for name, one in KINDS.items()}
