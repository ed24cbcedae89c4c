"""What lies behind a row's end: whatever it holds, and whatever the weights hold, it changes nothing."""

import dataclasses
import math
import mmap
import random

import pytest
import sequence_kernel_cases as cases
import torch
from sequence_kernel_cases import Case

from mathkernels import _C, reference

every_kind = pytest.mark.parametrize("kind", cases.GATES)
ROWS = [1, 5, 8, 13, 16, 27, 32, 33, 70]  # few, and panels of 16 and 32, full and not
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def with_ends(case: Case) -> Case:
    """A row of every length from 0 to T where there are as many rows."""
    E, _, T, B, *_ = case.shape
    case.inputs["lengths"] = (torch.arange(E * B).reshape(E, B) * 3 + 1) % (T + 1)
    case.inputs["lengths"][:, -1] = 0
    return case


@every_kind
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_nothing_that_has_ended_is_touched_by_weights_that_are_no_numbers(kind, rows, value, isa):
    rng = random.Random(f"{kind} {rows} {value}")
    for name in (*WEIGHTS, "all"):
        for features in ({}, {"bfloat16": True}):
            shape = (
                2,
                rng.randint(1, 2),
                rng.randint(1, 5),
                rows,
                rng.choice([1, 3, 20]),
                rng.randint(1, 21),
            )
            case = with_ends(Case(kind, shape, torch.float32, lengths=True, **features))
            for spoilt in WEIGHTS if name == "all" else (name,):
                case.inputs[spoilt].fill_(value)
            check_ends(case)
    case = with_ends(Case(kind, (1, 2, 3, rows, 3, 7), torch.float64, lengths=True, symbols=True))
    case.inputs["weight_ih"].fill_(value)
    check_ends(case)


def check_ends(case: Case) -> None:
    lengths, T = case.inputs["lengths"], case.shape[2]
    out = cases.forward(case)
    arriving = cases.arriving_at(out)
    grads = cases.backward(case, out, arriving)
    padding = torch.arange(T)[None, :, None] >= lengths[:, None]  # (E,T,B)
    empty = (lengths == 0)[:, None].expand(-1, case.shape[1], -1)  # (E,D,B)
    for name in ("y", "cells"):
        assert name not in out or (out[name][padding] == 0).all(), name
    assert "x" not in grads or (grads["x"][padding] == 0).all()
    for state, last in (("h0", "hn"), ("c0", "cn")):
        if state in case.inputs:
            if last in out:
                assert torch.equal(out[last][empty], case.inputs[state][empty]), last
            if last in arriving:
                assert torch.equal(grads[state][empty], arriving[last][empty]), f"gradient of {state}"


@every_kind
@pytest.mark.parametrize("rows", ROWS)
def test_rows_without_steps_leave_no_gradient_whatever_the_weights_hold(kind, rows, isa):
    case = Case(kind, (1, 2, 3, rows, 3, 7), torch.float32, lengths=True)
    case.inputs["lengths"].zero_()
    for name in (*WEIGHTS, "x", "h0"):
        case.inputs[name].fill_(math.nan)
    out = cases.forward(case)
    grads = cases.backward(case, out, cases.arriving_at(out))
    for name in (*WEIGHTS, "x"):
        assert (grads[name] == 0).all(), f"gradient of {name}"


@every_kind
@pytest.mark.parametrize("rows", ROWS)
def test_what_is_not_there_may_be_no_symbol(kind, rows):
    case = with_ends(Case(kind, (2, 2, 5, rows, 9, 7), torch.float32, lengths=True, symbols=True))
    padding = torch.arange(5)[None, :, None] >= case.inputs["lengths"][:, None]
    spoilt = dataclasses.replace(case, inputs=dict(case.inputs))
    spoilt.inputs["x"] = case.inputs["x"].masked_fill(padding, -(10**12))
    out, again = cases.forward(case), cases.forward(spoilt)
    arriving = cases.arriving_at(out)
    grads, grads_again = cases.backward(case, out, arriving), cases.backward(spoilt, again, arriving)
    for name in ("y", "hn"):
        assert torch.equal(out[name], again[name]), name
    for name, value in grads.items():
        assert torch.equal(value, grads_again[name]), f"gradient of {name}"


@every_kind
@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_the_reference_leaves_alone_what_has_ended(kind, value):
    """By its own backward and by autograd through its forward."""
    case = with_ends(Case(kind, (2, 2, 4, 9, 3, 5), lengths=True))
    spoilt = (case.inputs["lengths"] == 0)[:, None, :, None]
    for name in ("weight_ih", "weight_hh"):
        case.inputs[name].fill_(value)
    check_reference(case)
    case = with_ends(Case(kind, (2, 2, 4, 9, 3, 5), lengths=True))
    for name in ("h0", "c0"):
        if name in case.inputs:
            case.inputs[name].masked_fill_(spoilt, value)
    grads = check_reference(case)
    for found in grads:
        for name in (*WEIGHTS, "x"):
            assert torch.isfinite(found[name]).all(), f"gradient of {name}"


def check_reference(case: Case) -> list[dict]:
    names = [name for name in cases.NAMES if name in case.inputs]
    leaves = {name: case.inputs[name].clone().requires_grad_() for name in names}
    lengths = case.inputs["lengths"]
    *results, gates = getattr(reference, case.kind)(*leaves.values(), lengths)
    labels = ["y", "hn", "cn", "cells"][: len(results)]
    arriving = [torch.randn_like(result) for result in results]
    by_autograd = torch.autograd.grad(results, list(leaves.values()), arriving, retain_graph=True)
    saved = [
        result.detach() for label, result in zip(labels, results, strict=True) if label in ("y", "cells")
    ]
    written = getattr(reference, f"{case.kind}_backward")(
        *arriving, *(leaf.detach() for leaf in leaves.values()), lengths, *saved, gates.detach()
    )
    padding = torch.arange(case.shape[2])[None, :, None] >= lengths[:, None]
    empty = (lengths == 0)[:, None].expand(-1, case.shape[1], -1)
    out = dict(zip(labels, results, strict=True))
    found = [dict(zip(names, grads, strict=True)) for grads in (by_autograd, written)]
    for grads in found:
        assert (grads["x"][padding] == 0).all()
        for state, last in (("h0", "hn"), ("c0", "cn")):
            if state in grads:
                coming = arriving[labels.index(last)]
                assert torch.equal(grads[state][empty], coming[empty]), f"gradient of {state}"
    for name in ("y", "cells"):
        assert name not in out or (out[name][padding] == 0).all()
    return found


class Sparse:
    """Memory of zeros that the system makes where it is written."""

    def __init__(self, numbers: int, dtype: torch.dtype):
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        self.map = mmap.mmap(-1, numbers * dtype.itemsize, flags=flags)
        self.tensor = torch.frombuffer(self.map, dtype=dtype)
        self.address = self.tensor.data_ptr()


STEPS = (1 << 24) + 1  # a float32 has no such number


@every_kind
def test_lengths_beyond_those_of_a_float_are_exact(kind):
    """A state that changes its sign at every step: whether the last one was taken shows."""
    rows, gates = 9, cases.GATES[kind]
    call = _C.sequence_call(_C.sequence_kinds[kind], 0, False, False, 1, 1, STEPS, rows, 0, 1, 1)
    swing = {"lstm": [40.0, -40.0, 0.0, 40.0], "gru": [0.0, -40.0, 0.0]}[kind]
    bias = torch.tensor(swing)
    weight_hh = torch.zeros(gates)
    weight_hh[2] = -3.0  # the new gate is tanh(-3 h)
    if kind == "gru":
        bias[0] = 40.0
    h0 = torch.full((rows,), 0.9)
    lengths = torch.tensor([STEPS - row for row in range(rows)])
    hn, zeros = torch.full((rows,), torch.nan), torch.zeros(gates)
    scratch = cases.workspace(_C.sequence_forward_workspace(call))
    tensors = [None, zeros, weight_hh, bias, zeros, h0, None, lengths, None, hn, None, None, None, scratch]
    _C.sequence_forward(call, *map(cases.address, tensors))
    signs = torch.tensor([-1.0 if length % 2 else 1.0 for length in lengths.tolist()])
    assert torch.equal(hn.sign(), signs)


@every_kind
@pytest.mark.parametrize("rows", [9])
def test_gradients_at_lengths_beyond_those_of_a_float_are_exact(kind, rows):
    """Gates and states of zeros: the bias of the new gate gets what arrives at a step."""
    H = 1
    call = _C.sequence_call(_C.sequence_kinds[kind], 0, False, False, 1, 1, STEPS, rows, 0, H, 1)
    lengths = torch.zeros(rows, dtype=torch.int64)
    lengths[3] = STEPS
    gates, zeros = Sparse(STEPS * rows * 4 * H, torch.float32), Sparse(STEPS * rows * H, torch.float32)
    dy = Sparse(STEPS * rows * H, torch.float32)
    dy.tensor[(STEPS - 1) * rows + 3] = 1.0
    if kind == "lstm":  # input and output gate of the last step are 1
        used = min(rows, 32)  # rows of the first panel
        for slot in (0, 3):
            gates.tensor[((STEPS - 1) * 4 + slot) * used + 3] = 1.0
    weight_hh, bias = torch.zeros(cases.GATES[kind]), torch.zeros(cases.GATES[kind])
    dbias = torch.full_like(bias, torch.nan)
    scratch = cases.workspace(_C.sequence_backward_workspace(call))
    absent = [0] * 3
    inputs = [0, weight_hh.data_ptr(), weight_hh.data_ptr(), bias.data_ptr(), bias.data_ptr(), 0, 0]
    saved = [zeros.address, gates.address, zeros.address if kind == "lstm" else 0]
    out = [0, 0, 0, dbias.data_ptr(), 0, 0, 0]
    _C.sequence_backward(
        call, dy.address, *absent, *inputs, lengths.data_ptr(), *saved, *out, scratch.data_ptr()
    )
    assert dbias[2] == 1.0


@every_kind
def test_symbols_beyond_32_bits_name_their_own_weights(kind):
    symbols, rows, gates = (1 << 31) + 50, 20, cases.GATES[kind]
    call = _C.sequence_call(_C.sequence_kinds[kind], 0, False, True, 1, 1, 1, 140, symbols, 1, 1)
    weight_ih = Sparse(gates * symbols, torch.float32)
    x = torch.zeros(140, dtype=torch.int64)
    x[:rows] = torch.arange(symbols - rows, symbols)
    new_gate = weight_ih.tensor[2 * symbols : 3 * symbols]
    new_gate[-rows:] = torch.linspace(0.1, 1, rows)
    zeros, y = torch.zeros(gates), torch.full((140,), torch.nan)
    weight_hh = torch.zeros(gates)
    scratch = cases.workspace(_C.sequence_forward_workspace(call))
    tensors = [x, None, weight_hh, zeros, zeros, None, None, None, y, None, None, None, None, scratch]
    addresses = list(map(cases.address, tensors))
    addresses[1] = weight_ih.address
    _C.sequence_forward(call, *addresses)
    n = torch.linspace(0.1, 1, rows).tanh()
    expected = n / 2 if kind == "gru" else torch.tanh(n / 2) / 2
    torch.testing.assert_close(y[:rows], expected)
    assert (y[rows:] == 0).all()
