"""Random calls of all ops: right ones against plain torch, and raw ones with arguments exchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import composition_cases
import layer_cases
import raw_ops
import sequence_op_cases
import torch
from torch import Tensor

from fuzzing import values
from fuzzing.calls import Call, Difference, Draw, shown
from fuzzing.compare import LARGE, close, pulled, same_bits, tensors

Function = Callable[..., Any]


class Subject(NamedTuple):
    """An op at one shape: its leaves, which lead with the model axis, and what it means."""

    name: str
    leaves: list[Tensor]
    function: Function
    meaning: Function
    alone: Callable[[int], tuple[Function, list[Tensor]]] | None  # the same for one of its models
    rows: int | None = None  # axis of the batch in x and y, where a row's bits do not depend on the others
    precision: float | None = None
    keeps_nan: bool = True
    scale: float = 0.0
    judged: bool = True  # by its values; its bits are compared in any case


def _layer(draw: Draw) -> Subject:
    case = draw.choice(layer_cases.CASES)
    shape = (
        values.size(draw, values.MODELS, 8),
        values.size(draw, values.ROWS),
        values.size(draw, values.FEW, 40),
        values.size(draw, values.FEW, 40),
    )
    leaves = case.leaves(shape, draw.one(torch.float32, torch.float32, torch.float64))
    own = [values.changed(draw, leaf) for leaf in leaves]

    def alone(model: int) -> tuple[Function, list[Tensor]]:
        return case.function, [leaf[model : model + 1] for leaf in own]

    return Subject(f"{case.id} {shape}", own, case.function, case.reference, alone, 1)


def _sequence(draw: Draw) -> Subject:
    case = draw.choice(sequence_op_cases.CASES)
    _, T, B, I, H, D = shape = (
        values.size(draw, (1, 1, 2, 3), 3, 0.005),
        values.size(draw, (1, 2, 3, 4, 6), 12, 0.01),
        values.size(draw, (1, 2, 3, 5, 8, 15, 16, 17, 20, 31, 33, 40), 130),
        values.size(draw, (1, 2, 3, 7, 8, 17), 60, 0.0 if case.symbols else 0.01),
        values.size(draw, (1, 2, 3, 5, 8, 15, 16, 17, 20, 33), 100, 0.0),
        draw.one(1, 2),
    )
    if draw.holds(0.004):  # weights that no longer fit into a cache
        _, T, B, I, H, D = shape = (2, 1, draw.one(1, 40, 70), 600, 170, 1)
    leaves = case.leaves(shape, draw.one(torch.float32, torch.float32, torch.float64))
    own = [values.changed(draw, leaf) for leaf in leaves]
    lengths_differ = case.lengths or case.symbols  # they are made for all models at once

    def alone(model: int) -> tuple[Function, list[Tensor]]:
        return case.function((1, T, B, I, H, D)), [leaf[model : model + 1] for leaf in own]

    return Subject(
        f"{case.id} {shape}",
        own,
        case.function(shape),
        case.reference(shape),
        None if lengths_differ else alone,
        # plain torch multiplies one-hot rows by columns that the op never reads
        keeps_nan=not case.symbols,
        scale=_most(own),
        judged=_most(own) <= LARGE,
    )


def _most(leaves: Sequence[Tensor]) -> float:
    """The largest number, at least 1; the last bit of a saturated gate is seen through such factors."""
    numbers = [leaf.nan_to_num(0.0, math.inf, -math.inf).abs().max() for leaf in leaves if leaf.numel()]
    return max([1.0, *map(float, numbers)])


def _fixed(draw: Draw) -> Subject:
    """Every op of the grid of compositions at its own shape: what has no cases elsewhere is here."""
    case = draw.choice(composition_cases.OPS)
    double = not case.id.endswith("bfloat16")
    leaves = case.leaves(draw.one(torch.float32, torch.float64)) if double else case.leaves()
    own = [values.changed(draw, leaf) for leaf in leaves] if double else leaves
    name, sequence = case.id, case.op in ("lstm", "gru")
    precision, symbols = None if double else 2.0**-8, "symbols" in name
    scale = _most(own) if sequence else 0.0
    place = (None, None, precision, not symbols, scale, scale <= LARGE)
    return Subject(name, own, case.function, case.reference, *place)


def value(draw: Draw) -> Call:
    """A right call: values and gradients as plain torch has them, the same bits in other company."""
    make = draw.choices((_layer, _sequence, _fixed), (6, 3, 1))[0]
    subject = make(draw)
    leaves = [values.strided(draw, leaf) for leaf in subject.leaves]
    model, row = draw.random(), draw.random()

    def run() -> None:
        mine = pulled(subject.function, leaves)
        torch.set_num_threads(2)
        same_bits(pulled(subject.function, leaves), mine, "2 threads against 1")
        torch.set_num_threads(1)
        if subject.alone and len(leaves[0]) > 1:
            _model_alone(subject, mine, int(model * len(leaves[0])))
        if subject.rows is not None and leaves[0].shape[subject.rows]:
            _row_alone(subject, leaves, mine, int(row * leaves[0].shape[subject.rows]))
        if subject.judged:
            rule = (subject.precision, subject.keeps_nan, subject.scale)
            close(subject.function, subject.meaning, leaves, *rule)

    return Call(f"{subject.name} {leaves[0].dtype}", run, valid=True)


def _model_alone(subject: Subject, together: Sequence[Tensor], model: int) -> None:
    assert subject.alone is not None
    function, leaves = subject.alone(model)
    same_bits(
        pulled(function, leaves),
        [t[model : model + 1] for t in together],
        "a model alone against among others",
    )


def _row_alone(subject: Subject, leaves: Sequence[Tensor], together: Sequence[Tensor], row: int) -> None:
    x, *weights = leaves
    axis = subject.rows
    assert axis is not None
    y = subject.function(x.narrow(axis, row, 1), *weights)
    same_bits([y.detach()], [together[0].narrow(axis, row, 1)], "a row alone against in its batch")


@cache
def _valid() -> list[raw_ops.Call]:
    return raw_ops.valid_calls()


def raw(draw: Draw) -> Call:
    """A raw op with one to three arguments exchanged for others that its schema lets in."""
    op, arguments = draw.choice(_valid())
    arguments = list(arguments)
    told, names, harmless, large = [], [], True, False
    for at in draw.sample(range(len(arguments)), min(len(arguments), draw.one(1, 1, 1, 2, 3))):
        name = op._schema.arguments[at].name
        what, arguments[at], plain = _exchange(draw, arguments[at])
        harmless = harmless and plain
        large = large or (isinstance(arguments[at], Tensor) and arguments[at].numel() > 2**26)
        told.append(f"{name}: {what}")
        names.append(name)

    def run() -> None:
        results = tensors(op(*arguments))
        for result in results:
            if result.device.type == "cpu" and not result.is_sparse:
                result.sum()  # reads all of it
        if not harmless:
            return
        torch.set_num_threads(2)
        dense = [a.contiguous().clone() if isinstance(a, Tensor) else a for a in arguments]
        same_bits(tensors(op(*dense)), results, "2 threads and dense memory against 1 thread and strides")

    return Call(f"{op._schema.name.partition('::')[2]} with {'; '.join(told)}", run, names, large=large)


def _exchange(draw: Draw, value: Any) -> tuple[str, Any, bool]:
    """What stands in the place of an argument: told, the argument, whether the call is still a right one."""
    if not isinstance(value, Tensor):
        others = list(raw_ops._others(value))
        others += [
            (shown(v), v) for v in (None, 0, -1, 2**62, 2**70, 1e400, "x", True, torch.ones(2), [1, 2])
        ]
        return *draw.choice(others), False
    how = draw.random()
    if how < 0.25:
        return "other numbers", values.strided(draw, values.changed(draw, value)), True
    if how < 0.5:
        return *_shape(draw, value), False
    if how < 0.6 and value.dtype == torch.int64:
        number = draw.one(-1, 10**8, 2**31, 2**32, 2**62, -(2**63), 2**63 - 1)
        at = value.clone()
        if at.numel():
            at.view(-1)[draw.randrange(at.numel())] = number
        return f"one entry {number}", at, False
    return *draw.choice([*raw_ops._others(value)]), False


def _shape(draw: Draw, value: Tensor) -> tuple[str, Tensor]:
    """A tensor of the same dtype whose shape differs a little or much."""
    shape = list(value.shape)
    how = draw.randrange(5)
    if how == 0 and shape:
        at = draw.randrange(len(shape))
        shape[at] = max(0, shape[at] + draw.one(-1, 1, 1, 2, 7))
    elif how == 1:
        shape.insert(draw.randint(0, len(shape)), draw.one(0, 1, 2))
    elif how == 2 and shape:
        del shape[draw.randrange(len(shape))]
    elif how == 3:
        draw.shuffle(shape)
    else:  # millions of rows that have no memory of their own
        shape[:1] = [draw.one(0, 2**20, 2**31, 2**40)]
        return f"expanded to {tuple(shape)}", value.new_ones(()).expand(shape)
    return f"of shape {tuple(shape)}", value.new_ones(shape)


def check_registry() -> None:
    """Raise Difference unless every registered op is among those that are called."""
    called = {op._schema.name for op, _ in _valid()}
    registered = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("mathkernels::")}
    if called != registered:
        raise Difference(f"never called: {registered - called}")


KINDS = {"op": value, "raw-op": raw}
