"""Whole LSTM and GRU sequences as ops: what the two share.

`define_sequence` declares one, `apply_sequence` calls it. All functions here take and return c0, cn and
cells, which a GRU has not: for it they are None where they come in, and without elements where they go out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mathkernels import _C
from mathkernels.ops._dispatch import Kernels
from mathkernels.ops._library import DTYPES
from mathkernels.ops._memory import maker, scratch
from mathkernels.ops._sequence_checks import (
    Given,
    Sizes,
    address,
    check_results,
    check_sequence,
    check_values,
    dense,
    own_integers,
)
from mathkernels.ops._twice import Derivative, define_twice

_OPS: dict[str, Callable] = {}
_KINDS: dict[str, int] = _C.sequence_kinds


def define_sequence(name: str, reference: Callable, reference_backward: Callable) -> None:
    """Declare ``mathkernels::<name>`` and its backward.

    Args:
        reference: x ... lengths, bfloat16 -> y, hn, cn, cells, gates in plain torch.
        reference_backward: dy ... gates, bfloat16 -> the seven gradients in plain torch.
    """
    given = (
        "Tensor x, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? h0,"
        " Tensor? c0, Tensor? lengths"
    )
    gradients = "Tensor? dy, Tensor? dhn, Tensor? dcn, Tensor? dcells"
    flags = "bool save_gates, bool save_cells, bool bfloat16"
    wants = "bool want_x, bool want_weights, bool want_states, bool bfloat16"
    five, seven = (", ".join(["Tensor"] * count) for count in (5, 7))
    kept = "Tensor y, Tensor cells, Tensor gates"
    schemas = (
        f"{name}({given}, {flags}) -> ({five})",
        f"{name}_backward({gradients}, {given}, {kept}, {wants}) -> ({seven})",
    )
    _OPS[name] = define_twice(
        schemas,
        Kernels(
            partial(_rule, name),
            partial(_cpu, name),
            partial(_reference, reference),
            check_values=partial(_check_values, name),
        ),
        Kernels(
            partial(_rule_backward, name),
            partial(_cpu_backward, name),
            partial(_reference_backward, reference, reference_backward),
            check_values=partial(_check_values_backward, name),
        ),
        _Derivative(reference, reference_backward),
    )


def _outputs(
    name: str, new: Callable, sizes: Sizes, save_gates: bool, save_cells: bool
) -> tuple[Tensor, ...]:
    """New y, hn, cn, cells and gates; without elements those that are not wanted or not there."""
    E, T, B, _, D, H = sizes
    none, along, state, has_cells = (E, 0), (E, T, B, D * H), (E, D, B, H), name == "lstm"
    cells = along if has_cells and save_cells else none
    shapes = (along, state, state if has_cells else none, cells, (E, D, T, B, 4 * H) if save_gates else none)
    return tuple(new(shape) for shape in shapes)


def _rule(name: str, *arguments: Any) -> tuple[Tensor, ...]:
    given = Given(*arguments[:8])
    sizes = check_sequence(name, given, arguments[-1])
    return _outputs(name, given.weight_hh.new_empty, sizes, *arguments[8:10])


def _call(name: str, given: Given, sizes: Sizes, bfloat16: bool) -> object:
    dtype, ids = DTYPES.index(given.weight_hh.dtype), given.x.dtype == torch.int64
    E, T, B, I, D, H = sizes
    threads = torch.get_num_threads()
    return _C.sequence_call(_KINDS[name], dtype, bfloat16, ids, E, D, T, B, I, H, threads)


def _cpu(name: str, *arguments: Any) -> tuple[Tensor, ...]:
    given, (save_gates, save_cells, bfloat16) = Given(*arguments[:8]), arguments[8:]
    sizes = check_sequence(name, given, bfloat16)
    given = own_integers(given)
    check_values(name, given, sizes)
    new = maker(sizes.most, given.weight_hh.dtype)
    outputs = _outputs(name, new, sizes, save_gates, save_cells)
    call = _call(name, given, sizes, bfloat16)
    workspace = scratch(_C.sequence_forward_workspace(call))
    y, hn, cn, cells, gates = (output if output.numel() else None for output in outputs)
    tensors = (*dense(given), y, hn, cn, gates, cells, workspace)
    _C.sequence_forward(call, *map(address, tensors))
    return outputs


def _check_values(name: str, *arguments: Any) -> None:
    given = Given(*arguments[:8])
    check_values(name, given, check_sequence(name, given, arguments[-1]))


def _reference(reference: Callable, *arguments: Any) -> tuple[Tensor, ...]:
    save_gates, save_cells, bfloat16 = arguments[8:]
    y, hn, cn, cells, gates = reference(*arguments[:8], bfloat16)
    gates = torch.full_like(
        gates, torch.nan
    )  # the kernels keep them in an order of their own: see _cpu_backward
    kept = (cn, cells if save_cells else None, gates if save_gates else None)
    return y, hn, *(y.new_empty(y.shape[0], 0) if tensor is None else tensor for tensor in kept)


def _wanted(
    given: Sequence[Tensor | None], want_x: bool, want_weights: bool, want_states: bool
) -> list[bool]:
    """Which of the seven gradients, of x up to c0, are wanted."""
    wants = (want_x, *[want_weights] * 4, *[want_states] * 2)
    return [want and tensor is not None for tensor, want in zip(given[:7], wants, strict=True)]


def _check_backward(name: str, arguments: tuple) -> tuple[Given, Sizes]:
    (dy, dhn, dcn, dcells), given, (y, cells, gates) = (
        arguments[:4],
        Given(*arguments[4:12]),
        arguments[12:15],
    )
    sizes = check_sequence(name, given, arguments[-1])
    if arguments[15] and not given.x.is_floating_point():
        raise ValueError(f"{name}_backward: want_x is True, but x holds token ids, which have no gradient")
    told = {"dy": (dy, "ETBS"), "dhn": (dhn, "EDBH"), "y": (y, "ETBS"), "gates": (gates, "EDTBG")}
    if name == "lstm":
        told.update(dcn=(dcn, "EDBH"), dcells=(dcells, "ETBS"), cells=(cells, "ETBS"))
    check_results(name, sizes, given.weight_hh, **told)
    return given, sizes


def _new_gradients(new: Callable, given: Given, wanted: list[bool]) -> tuple[Tensor, ...]:
    models = given.x.shape[0]
    return tuple(
        new(tensor.shape if tensor is not None and want else (models, 0))
        for tensor, want in zip(given, wanted, strict=False)
    )


def _rule_backward(name: str, *arguments: Any) -> tuple[Tensor, ...]:
    given, _ = _check_backward(name, arguments)
    return _new_gradients(given.weight_hh.new_empty, given, _wanted(given, *arguments[15:18]))


def _cpu_backward(name: str, *arguments: Any) -> tuple[Tensor, ...]:
    given, sizes = _check_backward(name, arguments)
    given = own_integers(given)
    check_values(f"{name}_backward", given, sizes)
    y, cells, gates = arguments[12:15]
    if (
        gates.numel() and gates.flatten()[0].isnan()
    ):  # plain torch ran forward, or the gate is NaN: both made anew
        y, _, _, cells, gates = _cpu(name, *given, True, True, arguments[-1])
    wanted = _wanted(given, *arguments[15:18])
    gradients = _new_gradients(maker(sizes.most, given.weight_hh.dtype), given, wanted)
    call = _call(name, given, sizes, arguments[-1])
    workspace = scratch(_C.sequence_backward_workspace(call))
    saved = (y, gates, cells if name == "lstm" else None)
    made = (gradient if want else None for gradient, want in zip(gradients, wanted, strict=True))
    tensors = (*dense((*arguments[:4], *given, *saved)), *made, workspace)
    _C.sequence_backward(call, *map(address, tensors))
    return gradients


def _check_values_backward(name: str, *arguments: Any) -> None:
    given = Given(*arguments[4:12])
    check_values(f"{name}_backward", given, check_sequence(name, given, arguments[-1]))


def _reference_backward(
    reference: Callable, reference_backward: Callable, *arguments: Any
) -> tuple[Tensor, ...]:
    given = Given(*arguments[4:12])
    wanted = _wanted(given, *arguments[15:18])
    # What a kernel has kept is in an order of its own.
    y, _, _, cells, gates = reference(*given, arguments[-1])
    found = reference_backward(*arguments[:12], y, cells, gates, arguments[-1])
    none = _new_gradients(given.weight_hh.new_empty, given, [False] * 7)
    return tuple(value if want else no for value, want, no in zip(found, wanted, none, strict=True))


def apply_sequence(
    name: str,
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    lengths: Tensor | None,
    save_cells: bool,
    bfloat16: bool,
) -> tuple[Tensor, ...]:
    """y, hn, cn and cells of the op `name`; differentiable to any order, mapped by vmap."""
    given = (x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, lengths)
    return _OPS[name](*given, False, save_cells, bfloat16)[:4]


class _Derivative(Derivative):
    """Of tensors that may be missing or hold integers, and of outputs that are kept and not handed out."""

    gradients = 4  # of y, hn, cn and cells

    def __init__(self, reference: Callable, reference_backward: Callable) -> None:
        def pullback(*arguments: Any) -> tuple[Tensor, ...]:
            *tensors, _, _, _, bfloat16 = arguments
            y, _, _, cells, gates = reference(*tensors[4:], bfloat16)
            return reference_backward(*tensors, y, cells, gates, bfloat16)

        super().__init__(8, pullback)
        self.kept = 3  # y, cells and gates

    def training(self, arguments: tuple) -> tuple:
        # Their owner may fill token ids and lengths anew before backward, through numpy unseen by torch.
        return (*own_integers(Given(*arguments[:8])), True, True, arguments[-1])

    def leave(self, ctx: Any, outputs: Any, options: tuple) -> tuple[Any, list[Tensor]]:
        y, hn, cn, cells, gates = outputs
        save_gates, save_cells, _ = options
        kept = ctx.outputs.to_save(y, cells) if save_cells else [*ctx.outputs.to_save(y), cells]
        ctx.set_materialize_grads(False)
        none = y.new_empty(y.shape[0], 0)
        handed = y, hn, cn, cells if save_cells else none, gates if save_gates else none.clone()
        ctx.mark_non_differentiable(handed[4])
        return handed, [*kept, gates]

    def keep(self, outputs: Any) -> tuple[Tensor, ...]:
        y, _, _, cells, gates = outputs
        return y, cells, gates

    def options(self, options: tuple, needed: tuple[bool, ...]) -> tuple:
        return needed[0], any(needed[1:5]), any(needed[5:7]), options[-1]

    def returned(self, tensors: tuple, options: tuple) -> list[bool]:
        return _wanted(tensors[:7], *options[:3])
