"""Random fields of all descriptions: runs, modules, schedules, optimisers, tasks, ranges, data."""

from __future__ import annotations

import dataclasses
import pickle
import typing
from typing import Any, Literal, get_args, get_origin

import numpy as np

from fuzzing import hostile
from fuzzing.calls import Call, Difference, Draw, shown
from fuzzing.hostile import Given
from mathkernels import ensemble
from mathkernels.data import adding, arithmetic, distributions, mnist
from mathkernels.ensemble.checkpoint import describe

PLAIN = {"interpolation": "U[1,2]", "extrapolation": "U[2,6]"}
BASES: dict[type, dict[str, Any]] = {
    ensemble.Ramp: {"start": 10, "end": 20},
    ensemble.Stack: {"first": ensemble.NAU(), "second": ensemble.NMU()},
    ensemble.Task: {**PLAIN, "operation": "mul"},
    ensemble.Run: {"module": ensemble.NMU(), "task": ensemble.Task(**PLAIN), "seed": 1, "iterations": 30_000},
    distributions.Range: {"intervals": ((1.0, 2.0),)},
    distributions.TruncatedNormal: {"mean": 0.0, "sd": 1.0, "low": -1.0, "high": 2.0},
    distributions.Benford: {"low": 10, "high": 100},
}
KINDS_OF = {value for value in vars(ensemble).values() if dataclasses.is_dataclass(value)}
KINDS_OF -= {ensemble.Custom, ensemble.CustomTensor, ensemble.Progress}  # a library of the user's, a report
KINDS_OF |= {*BASES}
SUBJECTS = sorted(KINDS_OF, key=lambda kind: (kind.__module__, kind.__name__))
# numbers that a field takes below 0
SIGNED = {"forget_bias", "mean", "low", "high", "intervals"}


def _other(draw: Draw, name: str, hint: Any, default: Any) -> Given:
    """Something else for a field, by its type."""
    origin, inner = get_origin(hint), get_args(hint)
    if inner and type(None) in inner and origin is not tuple:
        if draw.holds(0.1):
            return Given(None, True)
        given = _other(draw, name, next(kind for kind in inner if kind is not type(None)), default)
        return Given(None, True) if given.value is None else given
    if origin is Literal:
        given = draw.choice(
            [*(Given(one) for one in inner), *hostile.ANYTHING, Given("none_of_these", False)]
        )
        return given if given.right is False else Given(given.value)
    if hint is bool:
        return hostile.flag(draw)
    if hint is int:
        given = hostile.size(draw)
        # 0 is a count of some fields, and how large a number may be is the field's own business
        zero = type(given.value) in (int, np.int64) and given.value == 0
        return Given(given.value) if zero or given.huge else given
    if hint is float:
        given = hostile.number(draw)
        return (
            Given(given.value)
            if name in SIGNED and type(given.value) is float
            else Given(given.value, False if given.right is False else None)
        )
    if origin is tuple:
        return draw.one(
            *(Given(v, False) for v in (None, 3, {}, object())), Given(()), Given(("x",)), Given((1e400, 2))
        )
    return Given(hostile.anything(draw).value)


def description(draw: Draw) -> Call:
    """A description with one or two odd fields: refused by name, or made, and then it is what it says."""
    if draw.holds(0.25):
        return draw.choice((text, arrays))(draw)
    kind = draw.choice(SUBJECTS)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    options = dict(BASES.get(kind, {}))
    odd, rights = [], []
    for name in draw.sample(list(fields), min(len(fields), draw.one(1, 1, 1, 2))):
        given = _other(draw, name, hints[name], fields[name].default)
        options[name] = given.value
        odd.append(name)
        rights.append(given.right)
    told = f"{kind.__name__}({', '.join(f'{key}={shown(value)}' for key, value in options.items())})"

    def run() -> None:
        made = kind(**options)
        if False in rights:
            raise Difference(f"took {', '.join(o for o, r in zip(odd, rights, strict=True) if r is False)}")
        _examine(made)

    return Call(told, run, odd)


def _examine(made: Any) -> None:
    """A description can be compared, hashed, sent to another process and written down."""
    if pickle.loads(pickle.dumps(made)) != made or dataclasses.replace(made) != made:
        raise Difference("a copy is not equal")
    hash(made)
    if isinstance(made, ensemble.Run):
        describe([made])


TEXTS = [
    *("U[1,2]", "U[-6,-2] or U[2,6]", "TN(0,1)[-5,5]", "TN(1,3)[-10,5]", "B[10,100]", "U[1,2)"),
    *("U[-2,-1] ; U[1,2]", "U[1e-3,2e30]", "U[0,1]"),
]


def text(draw: Draw) -> Call:
    """Ranges as text, with characters exchanged."""
    letters = list(draw.choice(TEXTS))
    for _ in range(draw.one(0, 1, 1, 2, 4)):
        at = draw.randrange(len(letters))
        letters[at : at + draw.one(0, 1, 1)] = draw.choice(
            ["9", "-", ".", "e", "]", "[", ",", " ", "", "U", "é", "1e999", "nan", "٣"]
        )
    given = "".join(letters)

    def run() -> None:
        ranges = distributions.parse_ranges(given)
        if distributions.parse_ranges(distributions.ranges_text(ranges)) != ranges:
            raise Difference("the text of the ranges reads otherwise")
        for part in ranges:
            drawn = part.sample(np.random.RandomState(draw.number % 2**32), (50,))
            low = min(interval[0] for interval in part.intervals)
            high = max(interval[1] for interval in part.intervals)
            if not (np.isfinite(drawn).all() and drawn.min() >= low and drawn.max() <= high):
                raise Difference(f"draws {drawn.min()} to {drawn.max()}")

    names = ("range", "ranges", "Range", "Range.intervals", "Benford", "TruncatedNormal", repr(given))
    return Call(f"ranges {given!r}", run, names)


def arrays(draw: Draw) -> Call:
    """Functions of data with odd arguments."""
    digits = mnist.Digits(
        "made up",
        {part: np.zeros((6, 2, 2), np.float32) for part in mnist.PARTS},
        {part: np.arange(6) for part in mnist.PARTS},
    )
    task = arithmetic.Task(**PLAIN)
    subjects = [
        (adding.generate, {"count": 3, "steps": 4, "seed": 0, "part": "train", "one_per_half": False}),
        (mnist.sequences, {"digits": digits, "part": "train", "task": "sum", "length": 2}),
        (task.evaluation_inputs, {"which": "test", "n": 5}),
        (task.evaluation_set, {"which": "test", "seed": 3, "n": 5}),
        (task.subsets, {"seed": 3}),
    ]
    function, options = draw.choice(subjects)
    name = draw.choice([name for name in options if name != "digits"])
    given = hostile.anything(draw)
    options[name] = given.value
    large = (isinstance(given.value, int) and given.value > 2**20) or hasattr(given.value, "dtype")
    return Call(
        f"{function.__qualname__}({name}={shown(given.value)})",
        lambda: function(**options),
        [name],
        large=large,
    )


KINDS = {"description": description}
