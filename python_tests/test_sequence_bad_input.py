"""What LSTM and GRU refuse, as ops and as modules: one message that names the thing."""

import pytest
import torch
from sequence_op_cases import KINDS, SHORT
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from mathkernels import nn, ops

MODULES, CELLS = ("LSTM", "GRU"), ("LSTMCell", "GRUCell")
every_case = pytest.mark.parametrize("case", KINDS, ids=lambda case: case.id)
every_kind = pytest.mark.parametrize("kind", MODULES)
every_cell = pytest.mark.parametrize("kind", CELLS)


def named(case):
    """A call's arguments by name, which the tests of bad input change one by one."""
    given = case.arguments((2, 3, 4, 5, 6, 2), case.leaves((2, 3, 4, 5, 6, 2)))
    states = ("h0", "c0") if case.kind == "lstm" else ("h0",)
    names = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", *states, "lengths")
    return dict(zip(names, given, strict=True))


@every_case
def test_disagreeing_shapes_are_named(case):
    op, G = getattr(ops, case.kind), case.gates
    good = {**named(case), "lengths": torch.tensor([[1, 2, 3, 0]] * 2)}
    told = {
        "x": (good["x"][:, :, :, :4], r"x \(E,T,B,I\)=\(2, 3, 4, 4\)"),
        "weight_ih": (good["weight_ih"][:, :, :-1], rf"weight_ih \(E,D,{G}H,I\)=\(2, 2, {6 * G - 1}, 5\)"),
        "weight_hh": (good["weight_hh"][..., :-1], rf"weight_hh \(E,D,{G}H,H\)=\(2, 2, {6 * G}, 5\)"),
        "bias_ih": (good["bias_ih"][:1], rf"bias_ih \(E,D,{G}H\)=\(1, 2, {6 * G}\)"),
        "bias_hh": (good["bias_hh"][0], rf"bias_hh \(E,D,{G}H\)=\(2, {6 * G}\)"),
        "h0": (good["h0"][:, :1], r"h0 \(E,D,B,H\)=\(2, 1, 4, 6\)"),
        "lengths": (good["lengths"][:1], r"lengths \(E,B\)=\(1, 4\)"),
    }
    if case.kind == "lstm":
        told["c0"] = (good["c0"][:, :, :3], r"c0 \(E,D,B,H\)=\(2, 2, 3, 6\)")
    assert op(**good)[0].shape == (2, 3, 4, 12)
    for name, (wrong, message) in told.items():
        with pytest.raises(ValueError, match=f"^{case.kind}: shapes disagree: .*{message}"):
            op(**{**good, name: wrong})
    for name in ("x", "weight_ih", "weight_hh"):
        with pytest.raises(ValueError, match=rf"^{case.kind}: shapes disagree: .*{name} "):
            op(**{**good, name: good[name][0]})


@every_case
def test_bad_options_dtypes_and_values_are_named(case):
    op, good = getattr(ops, case.kind), named(case)
    three = {name: torch.cat([t, t[:, :1]], 1) for name, t in good.items() if name not in ("x", "lengths")}
    with pytest.raises(ValueError, match=r"weight_hh \(2, 3, \d+, 6\) has 3 directions; needs 1 or 2"):
        op(x=good["x"], **three)
    with pytest.raises(ValueError, match="bias_ih is given without bias_hh; needs both or neither"):
        op(**{**good, "bias_hh": None})
    with pytest.raises(TypeError, match=r"bfloat16 rounds torch.float32; weight_ih is torch.float64"):
        op(**good, bfloat16=True)
    with pytest.raises(
        TypeError, match=r"h0 is torch.float32 on cpu; needs torch.float64 on cpu like weight_ih"
    ):
        op(**{**good, "h0": good["h0"].float()})
    with pytest.raises(
        TypeError, match=r"x is torch.float32 .* like weight_ih, or torch.int64 for token ids"
    ):
        op(**{**good, "x": good["x"].float()})
    with pytest.raises(TypeError, match=r"lengths is torch.int32 on cpu; needs torch.int64 on cpu"):
        op(**{**good, "lengths": torch.ones(2, 4, dtype=torch.int32)})
    half = {name: t.half() for name, t in good.items() if t is not None}
    with pytest.raises(TypeError, match=r"weight_ih is torch.float16; needs torch.float32 or torch.float64"):
        op(**half)
    for length in (4, -1):
        with pytest.raises(ValueError, match=rf"lengths holds {length}; needs steps from 0 to 3"):
            op(**{**good, "lengths": torch.full((2, 4), length)})
    for symbol in (5, -1):
        with pytest.raises(ValueError, match=rf"x holds {symbol}; needs token ids from 0 to 4"):
            op(**{**good, "x": torch.full((2, 3, 4), symbol)})


@every_case
def test_the_backward_op_refuses_what_does_not_fit(case):
    given = case.arguments(SHORT, case.leaves(SHORT))
    if case.kind == "gru":
        given.insert(6, None)
    y, hn, _, cells, gates = getattr(torch.ops.mathkernels, case.kind)(*given, True, True, False)
    backward = getattr(torch.ops.mathkernels, f"{case.kind}_backward")
    wants = (True, True, True, False)
    with pytest.raises(
        ValueError, match=rf"{case.kind}_backward: dy has shape \(2, 2, 3, 4\); needs \(2, 3, 3, 4\)"
    ):
        backward(y[:, :2], hn, None, None, *given, y, cells, gates, *wants)
    with pytest.raises(ValueError, match=rf"{case.kind}_backward: gates has shape \(2, 0\); needs"):
        backward(y, hn, None, None, *given, y, cells, gates.new_empty(2, 0), *wants)
    with pytest.raises(
        TypeError, match=rf"{case.kind}_backward: dhn is torch.float32 on cpu; needs torch.float64"
    ):
        backward(y, hn.float(), None, None, *given, y, cells, gates, *wants)


@pytest.mark.parametrize("kind", [*MODULES, *CELLS])
def test_bad_constructor_arguments_are_named(kind):
    make = getattr(nn, kind)
    for name, value in [("input_size", 0), ("hidden_size", -1), ("hidden_size", 2.5), ("models", 0)]:
        with pytest.raises(ValueError, match=f"{kind}: {name} is {value!r}; needs a positive integer"):
            make(**{"input_size": 3, "hidden_size": 4, name: value})
    with pytest.raises(ValueError, match=f"{kind}: bias is 'no'; needs one of True, False"):
        make(3, 4, bias="no")
    if kind in MODULES:
        with pytest.raises(
            ValueError, match=f"{kind}: proj_size is 2; needs 0, projections are not supported"
        ):
            make(3, 4, proj_size=2)
        with pytest.raises(ValueError, match=f"{kind}: dropout is 1.5; needs a number from 0 to 1"):
            make(3, 4, 2, dropout=1.5)
        with pytest.raises(ValueError, match=f"{kind}: num_layers is 0; needs a positive integer"):
            make(3, 4, 0)


@every_kind
def test_bad_tensors_of_a_call_are_named(kind):
    module, many = getattr(nn, kind)(3, 5), getattr(nn, kind)(3, 5, models=2)
    x = torch.randn(4, 2, 3)
    h0 = torch.zeros(1, 2, 5)

    def raises(error, message, *given, of=module, **options):
        with pytest.raises(error, match=f"^{kind}: {message}"):
            of(*given, **options)

    raises(ValueError, r"x, real numbers, has shape \(4, 2, 2\); needs \(T, B, 3\) or \(T, 3\)", x[..., :2])
    raises(ValueError, r"x, real numbers, has shape \(3,\); needs \(T, B, 3\) or \(T, 3\)", x[0, 0])
    raises(ValueError, r"x, token ids below 3, has shape \(\); needs \(T, B\) or \(T,\)", torch.tensor(1))
    raises(TypeError, r"x is torch.bool; needs real numbers, or whole numbers for token ids", x > 0)
    raises(
        ValueError, r"x, real numbers, has shape \(4, 2, 3\); needs \(2, T, B, 3\) or \(2, T, 3\)", x, of=many
    )
    wrong = (h0[:, :1], h0[:, :1]) if kind == "LSTM" else h0[:, :1]
    raises(ValueError, r"h0 has shape \(1, 1, 5\); needs \(1, 2, 5\)", x, wrong)
    unbatched = (h0, h0) if kind == "LSTM" else h0
    raises(ValueError, r"h0 has shape \(1, 2, 5\); needs \(1, 5\)", x[:, 0], unbatched)
    if kind == "LSTM":
        raises(TypeError, r"hx is Tensor; needs a pair \(h0, c0\)", x, h0)
        raises(TypeError, r"c0 is NoneType; needs a tensor of shape \(1, 2, 5\)", x, (h0, None))
    raises(ValueError, r"lengths has shape \(3,\); needs \(2,\)", x, lengths=[1, 2, 3])
    raises(TypeError, r"lengths is torch.float32; needs whole numbers", x, lengths=[1.0, 2.0])
    flat = PackedSequence(x[0, 0], torch.tensor([2, 1]))
    raises(ValueError, r"data of the PackedSequence has one axis; needs \(N, 3\)", flat)
    packed = pack_padded_sequence(x, [4, 2])
    raises(ValueError, r"lengths is given beside a PackedSequence, which has its own", packed, lengths=[4, 2])
    raises(
        ValueError,
        r"x is a PackedSequence, which has no model axis; needs a tensor and lengths",
        packed,
        of=many,
    )
    with pytest.raises(ValueError, match="lengths holds 5; needs steps from 0 to 4"):
        module(x, lengths=[5, 1])
    with pytest.raises(ValueError, match="x holds 3; needs token ids from 0 to 2"):
        module(torch.full((4, 2), 3))
    with pytest.raises(
        TypeError, match=r"x is torch.float64 on cpu; needs torch.float32 on cpu like weight_ih"
    ):
        module(x.double())


@every_cell
def test_bad_tensors_of_a_cells_call_are_named(kind):
    cell, h = getattr(nn, kind)(3, 5), torch.zeros(3, 5)
    hx = (h, h) if kind == "LSTMCell" else h
    with pytest.raises(
        ValueError, match=rf"{kind}: x, real numbers, has shape \(2, 4\); needs \(B, 3\) or \(3,\)"
    ):
        cell(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=rf"{kind}: h0 has shape \(3, 5\); needs \(2, 5\)"):
        cell(torch.zeros(2, 3), hx)
