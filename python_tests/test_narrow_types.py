"""bfloat16 and float16: parameters and inputs of those types, and torch.autocast."""

import itertools

import pytest
import torch
from torch import nn as torch_nn
from torch.nn.utils.rnn import pack_padded_sequence

from mathkernels import nn

NARROW = (torch.bfloat16, torch.float16)
every_narrow = pytest.mark.parametrize("dtype", NARROW, ids=str)
every_recurrent = pytest.mark.parametrize("kind", ["LSTM", "GRU", "LSTMCell", "GRUCell"])
ARITHMETIC = [
    *("NAC", "NACMul", "NACSigma", "NACNMU", "NALU", "GNALU", "INALU", "NAU", "NMU", "NRU", "NMRU", "NPU"),
    "RealNPU",
]


def flat(results):
    """All tensors of a call's results."""
    if isinstance(results, torch.Tensor):
        return [results]
    return [tensor for result in results for tensor in flat(result)]


def given(kind, I, H, **options):
    """An input and initial states."""
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    shape, state = ((4, I), (4, H)) if kind.endswith("Cell") else ((9, 4, I), (layers, 4, H))
    states = torch.randn(state), torch.randn(state)
    return torch.randn(shape), states if kind.startswith("LSTM") else states[0]


def results_and_gradients(module, x, hx, dtype):
    """All results, and the gradients of x, states and parameters, in their own types."""
    leaves = [t.detach().to(dtype).requires_grad_() for t in (x, *flat(hx))]
    states = tuple(leaves[1:]) if isinstance(hx, tuple) else leaves[1]
    results = flat(module(leaves[0], states))
    loss = sum((r.double() * torch.linspace(-1, 1, r.numel()).reshape(r.shape)).sum() for r in results)
    return [*results, *torch.autograd.grad(loss, [*leaves, *module.parameters()])]


SIZES = [(3, 5, {}), (17, 40, {"num_layers": 2, "bidirectional": True}), (8, 64, {"bias": False})]


@every_recurrent
@every_narrow
@pytest.mark.parametrize(("I", "H", "options"), SIZES, ids=str)
def test_narrow_parameters_err_no_more_than_torchs(kind, dtype, I, H, options):
    """Judged in float64 with the same rounded numbers, the narrow results differ by at most twice torch's."""
    torch.manual_seed(I)
    if kind.endswith("Cell"):
        options = {name: value for name, value in options.items() if name == "bias"}
    theirs, ours = getattr(torch_nn, kind)(I, H, **options).to(dtype), getattr(nn, kind)(I, H, **options)
    ours.to(dtype).load_state_dict(theirs.state_dict())
    judge = getattr(torch_nn, kind)(I, H, **options).double()
    judge.load_state_dict(theirs.state_dict())
    x, hx = given(kind, I, H, **options)
    x, hx = x.to(dtype), tuple(s.to(dtype) for s in hx) if isinstance(hx, tuple) else hx.to(dtype)
    exact = results_and_gradients(judge, x, hx, torch.float64)
    found, others = (results_and_gradients(module, x, hx, dtype) for module in (ours, theirs))
    for a, b, right in zip(found, others, exact, strict=True):
        assert a.dtype == b.dtype == dtype
        assert a.shape == right.shape
        size = right.abs().max()
        error, theirs_error = ((t.double() - right).abs().max() / size for t in (a, b))
        # the last rounding of a result is half of eps, whoever computes it
        assert error <= 2 * theirs_error + torch.finfo(dtype).eps, (error, theirs_error)


@every_recurrent
def test_bfloat16_parameters_equal_float32_ones_whose_products_round(kind):
    narrow = getattr(nn, kind)(5, 7, models=2).bfloat16()
    wide = getattr(nn, kind)(5, 7, models=2, bfloat16=True)
    wide.load_state_dict(narrow.state_dict())
    steps = () if kind.endswith("Cell") else (6,)
    x = torch.randn(2, *steps, 4, 5).bfloat16()
    found, expected = flat(narrow(x)), flat(wide(x.float()))
    assert all(map(torch.equal, found, (tensor.bfloat16() for tensor in expected)))
    sum(r.float().sum() for r in found).backward()
    sum(r.sum() for r in expected).backward()
    for a, b in zip(narrow.parameters(), wide.parameters(), strict=True):
        assert a.grad.dtype == torch.bfloat16
        assert torch.equal(a.grad, b.grad.bfloat16())


@every_narrow
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_narrow_parameters_with_every_form_of_input(kind, dtype):
    module = getattr(nn, kind)(3, 5, 2, bidirectional=True, batch_first=True, dropout=0.5).to(dtype)
    x = torch.randn(4, 6, 3).to(dtype)
    packed = pack_padded_sequence(x, [6, 2, 5, 1], batch_first=True, enforce_sorted=False)
    y, states = module(packed)
    assert {y.data.dtype, *(s.dtype for s in flat(states))} == {dtype}
    inputs = [x, x[0], torch.randint(0, 3, (4, 6)), torch.randint(0, 3, (4,))]
    for one, options in itertools.product(inputs, ({}, {"lengths": True})):
        length = {"lengths": [3] * 4 if one.shape[0] == 4 and one.dim() > 1 else 3} if options else {}
        if one is x[0] or one.dim() == 1:
            length = {"lengths": 3} if options else {}
        results = flat(module(one, **length)) if one is not inputs[1] else flat(module(one))
        assert {r.dtype for r in results} == {dtype}
        sum(r.float().sum() for r in results).backward()
        assert {p.grad.dtype for p in module.parameters()} == {dtype}
    if kind == "LSTM":
        assert {c.dtype for c in module(x, return_cells=True)[2]} == {dtype}


@every_recurrent
@every_narrow
def test_what_does_not_fit_narrow_parameters_is_named(kind, dtype):
    module, other = getattr(nn, kind)(3, 5).to(dtype), NARROW[1 - NARROW.index(dtype)]
    x, hx = given(kind, 3, 5)
    for wrong in (torch.float32, torch.float64, other):
        with pytest.raises(TypeError, match=rf"^{kind}: x is {wrong}; needs {dtype} like the parameters$"):
            module(x.to(wrong))
    with pytest.raises(TypeError, match=rf"^{kind}: h0 is torch.float32; needs {dtype} like the parameters$"):
        module(x.to(dtype), hx)
    wide = getattr(nn, kind)(3, 5)
    with pytest.raises(TypeError, match=rf"x is {dtype} on cpu; needs torch.float32 on cpu like weight_ih"):
        wide(x.to(dtype))
    last = list(module.named_parameters())[-1][0]
    setattr(module, last, torch_nn.Parameter(getattr(module, last).detach().float()))
    with pytest.raises(TypeError, match=rf"^{kind}: {last} is torch.float32; needs {dtype} like the first"):
        module(x.to(dtype))


@every_recurrent
@every_narrow
@pytest.mark.parametrize("stored", [torch.float32, *NARROW], ids=str)
def test_autocast_takes_every_narrow_input(kind, dtype, stored):
    module = getattr(nn, kind)(3, 5).to(stored)
    x, hx = given(kind, 3, 5)
    rounds = torch.bfloat16 in (stored, dtype)
    for given_type in (torch.float32, *NARROW):
        states = tuple(s.to(given_type) for s in hx) if isinstance(hx, tuple) else hx.to(given_type)
        with torch.autocast("cpu", dtype):
            results = flat(module(x.to(given_type), states))
        assert {r.dtype for r in results} == {stored}
        plain = getattr(nn, kind)(3, 5, bfloat16=rounds)
        plain.load_state_dict(module.state_dict())
        wide = tuple(s.float() for s in states) if isinstance(states, tuple) else states.float()
        expected = flat(plain(x.to(given_type).float(), wide))
        assert all(map(torch.equal, results, (e.to(stored) for e in expected)))
        sum(r.float().sum() for r in results).backward()
        assert {p.grad.dtype for p in module.parameters()} == {stored}
    exact = getattr(nn, kind)(3, 5).double()
    with torch.autocast("cpu", dtype):
        assert flat(exact(x.double()))[0].dtype == torch.float64


@every_narrow
@pytest.mark.parametrize("kind", [*ARITHMETIC, "RecurrentUnit"])
def test_arithmetic_layers_stay_float32_under_autocast(kind, dtype):
    """As torch's exp, log and pow do; they come behind a torch layer and before one."""
    layer = nn.RecurrentUnit("NMU") if kind == "RecurrentUnit" else getattr(nn, kind)(3, 3)
    before, after = torch_nn.Linear(3, 3), torch_nn.Linear(3, 1)
    x = torch.rand(5, 3) + 0.5
    with torch.autocast("cpu", dtype):
        narrow = before(x)
        y = layer(narrow)
        loss = after(y).float().square().sum() + layer.regularizer()
    assert (narrow.dtype, y.dtype) == (dtype, torch.float32)
    assert torch.equal(y, layer(narrow.float()))
    loss.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())
    assert before.weight.grad is not None


@every_narrow
@pytest.mark.parametrize("kind", ARITHMETIC)
def test_arithmetic_layers_refuse_narrow_parameters_by_name(kind, dtype):
    layer, x = getattr(nn, kind)(3, 2), torch.rand(5, 3)
    message = rf"^\w+: x is {dtype}; needs torch.float32 or torch.float64$"
    with pytest.raises(TypeError, match=message):
        layer(x.to(dtype))
    with pytest.raises(TypeError, match=message):
        layer.to(dtype)(x.to(dtype))
    with pytest.raises(TypeError, match=rf"^\w+: \w+ is {dtype} on cpu; needs torch.float32 on cpu like x$"):
        layer(x)
    with pytest.raises(TypeError, match=rf"{dtype}"), torch.autocast("cpu", dtype):
        layer(x.to(dtype))
    assert layer.float()(x).isfinite().all()
