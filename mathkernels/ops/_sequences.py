"""Whole LSTM and GRU sequences as ops: what the two share.

`define_sequence` declares one, `apply_sequence` calls it. All functions here take and return c0, cn and
cells, which a GRU has not: for it they are None where they come in, and without elements where they go out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mathkernels import _C
from mathkernels.backends import record
from mathkernels.ops._autograd import Overwritable
from mathkernels.ops._library import DTYPES, NO_GPU_KERNEL, define, differentiate
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


@dataclass(frozen=True)
class _Sequence:
    forward: Callable  # the op
    backward: Callable  # its backward as an op
    reference: Callable  # x ... lengths, bfloat16 -> y, hn, cn, cells, gates in plain torch
    reference_backward: Callable  # dy ... gates, bfloat16 -> the seven gradients in plain torch


_SEQUENCES: dict[str, _Sequence] = {}
_KINDS: dict[str, int] = _C.sequence_kinds


def define_sequence(name: str, reference: Callable, reference_backward: Callable) -> None:
    """Declare ``mathkernels::<name>`` and its backward; `_Sequence` says what the references take."""
    given = (
        "Tensor x, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? h0,"
        " Tensor? c0, Tensor? lengths"
    )
    gradients = "Tensor? dy, Tensor? dhn, Tensor? dcn, Tensor? dcells"
    flags = "bool save_gates, bool save_cells, bool bfloat16"
    wants = "bool want_x, bool want_weights, bool want_states, bool bfloat16"
    five, seven = (", ".join(["Tensor"] * count) for count in (5, 7))
    schema = f"{name}({given}, {flags}) -> ({five})"
    forward = define(schema, partial(_fake, name), partial(_cpu, name), partial(_cuda, name))
    schema = (
        f"{name}_backward({gradients}, {given}, Tensor y, Tensor cells, Tensor gates, {wants}) -> ({seven})"
    )
    kernels = partial(_cpu_backward, name), partial(_cuda_backward, name)
    backward = define(schema, partial(_fake_backward, name), *kernels)
    _SEQUENCES[name] = _Sequence(forward, backward, reference, reference_backward)
    differentiate(forward, _run, partial(_pull, name))
    differentiate(backward, _run_backward, partial(_pull_backward, name))


def _outputs(
    name: str, new: Callable, sizes: Sizes, save_gates: bool, save_cells: bool
) -> tuple[Tensor, ...]:
    """New y, hn, cn, cells and gates; without elements those that are not wanted or not there."""
    E, T, B, _, D, H = sizes
    none, along, state, has_cells = (E, 0), (E, T, B, D * H), (E, D, B, H), name == "lstm"
    cells = along if has_cells and save_cells else none
    shapes = (along, state, state if has_cells else none, cells, (E, D, T, B, 4 * H) if save_gates else none)
    return tuple(new(shape) for shape in shapes)


def _fake(name: str, *arguments: Any) -> tuple[Tensor, ...]:
    given = Given(*arguments[:8])
    sizes = check_sequence(name, given, arguments[-1])
    return _outputs(name, given.weight_hh.new_empty, sizes, *arguments[8:10])


def _call(name: str, given: Given, sizes: Sizes, bfloat16: bool) -> object:
    dtype, symbols = DTYPES.index(given.weight_hh.dtype), given.x.dtype == torch.int64
    E, T, B, I, D, H = sizes
    threads = torch.get_num_threads()
    return _C.sequence_call(_KINDS[name], dtype, bfloat16, symbols, E, D, T, B, I, H, threads)


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
    record(name)
    return outputs


def _cuda(name: str, *arguments: Any) -> tuple[Tensor, ...]:
    given, (save_gates, save_cells, bfloat16) = Given(*arguments[:8]), arguments[8:]
    check_values(name, given, check_sequence(name, given, bfloat16))
    record(name, "torch", NO_GPU_KERNEL)
    y, hn, cn, cells, gates = _SEQUENCES[name].reference(*given, bfloat16)
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
        raise ValueError(f"{name}_backward: want_x is True, but x holds symbols, which have no gradient")
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


def _fake_backward(name: str, *arguments: Any) -> tuple[Tensor, ...]:
    given, _ = _check_backward(name, arguments)
    return _new_gradients(given.weight_hh.new_empty, given, _wanted(given, *arguments[15:18]))


def _cpu_backward(name: str, *arguments: Any) -> tuple[Tensor, ...]:
    given, sizes = _check_backward(name, arguments)
    given = own_integers(given)
    check_values(f"{name}_backward", given, sizes)
    y, cells, gates = arguments[12:15]
    wanted = _wanted(given, *arguments[15:18])
    gradients = _new_gradients(maker(sizes.most, given.weight_hh.dtype), given, wanted)
    call = _call(name, given, sizes, arguments[-1])
    workspace = scratch(_C.sequence_backward_workspace(call))
    saved = (y, gates, cells if name == "lstm" else None)
    made = (gradient if want else None for gradient, want in zip(gradients, wanted, strict=True))
    tensors = (*dense((*arguments[:4], *given, *saved)), *made, workspace)
    _C.sequence_backward(call, *map(address, tensors))
    record(f"{name}_backward")
    return gradients


def _cuda_backward(name: str, *arguments: Any) -> tuple[Tensor, ...]:
    given, sizes = _check_backward(name, arguments)
    check_values(f"{name}_backward", given, sizes)
    wanted = _wanted(given, *arguments[15:18])
    record(f"{name}_backward", "torch", NO_GPU_KERNEL)
    found = _SEQUENCES[name].reference_backward(*arguments[:15], arguments[-1])
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
    return _SEQUENCES[name].forward(*given, False, save_cells, bfloat16)[:4]


def _run(ctx: Any, call: Callable, *arguments: Any) -> tuple[Tensor, ...]:
    # Their owner may fill symbols and lengths anew before backward, through numpy unseen by torch.
    given = own_integers(Given(*arguments[:8]))
    save_gates, save_cells, ctx.bfloat16 = arguments[8:]
    y, hn, cn, cells, gates = call(*given, True, True, ctx.bfloat16)
    ctx.outputs = Overwritable()
    kept = ctx.outputs.to_save(y, cells) if save_cells else [*ctx.outputs.to_save(y), cells]
    ctx.save_for_backward(*given, *kept, gates)
    ctx.set_materialize_grads(False)
    none = y.new_empty(y.shape[0], 0)
    outputs = y, hn, cn, cells if save_cells else none, gates if save_gates else none.clone()
    ctx.mark_non_differentiable(outputs[4])
    return outputs


def _pull(name: str, ctx: Any, *grads: Tensor | None) -> tuple:
    sequence, wanted = _SEQUENCES[name], ctx.needs_input_grad
    wants = wanted[0], any(wanted[1:5]), any(wanted[5:7])
    *given, y, cells, gates = ctx.saved_tensors  # checkpointing gives them once
    if ctx.outputs.changed():
        with torch.no_grad():
            y, _, _, cells, gates = sequence.forward(*given, True, True, ctx.bfloat16)
    gradients = sequence.backward(*grads[:4], *given, y, cells, gates, *wants, ctx.bfloat16)
    kept = (g if want else None for g, want in zip(gradients, _wanted(given, *wants), strict=True))
    return *kept, None, None, None, None


def _run_backward(ctx: Any, call: Callable, *arguments: Any) -> tuple[Tensor, ...]:
    *ctx.wants, ctx.bfloat16 = arguments[15:]
    ctx.save_for_backward(*arguments[:12])
    return call(*arguments)


def _pull_backward(name: str, ctx: Any, *grads: Tensor) -> tuple:
    """Second order goes through the reference, which makes y, cells and gates anew."""
    sequence, saved = _SEQUENCES[name], ctx.saved_tensors
    wanted = _wanted(saved[4:11], *ctx.wants)
    real = [tensor is not None and tensor.is_floating_point() for tensor in saved]

    def pullback(*tensors: Tensor) -> tuple[Tensor, ...]:
        left = iter(tensors)
        arguments = [next(left) if is_real else t for t, is_real in zip(saved, real, strict=True)]
        y, _, _, cells, gates = sequence.reference(*arguments[4:], ctx.bfloat16)
        gradients = sequence.reference_backward(*arguments, y, cells, gates, ctx.bfloat16)
        return tuple(g for g, want in zip(gradients, wanted, strict=True) if want)

    leaves = [t for t, is_real in zip(saved, real, strict=True) if is_real]
    arrived = tuple(grad for grad, want in zip(grads, wanted, strict=True) if want)
    found = iter(torch.func.vjp(pullback, *leaves)[1](arrived))
    second = (next(found) if is_real else None for is_real in real)
    return *second, *(None for _ in range(7))
