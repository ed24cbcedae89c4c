"""What a caller may do to a module's outputs: all that it may do to torch.nn's, with right gradients."""

import itertools

import pytest
import torch
from torch import nn as torch_nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from mathkernels import nn

# layers, bidirectional, batch_first, batched, dtype: all that makes torch's and our outputs of something else
FLAGS = itertools.product((False, True), (False, True), (False, True))
OPTIONS = [(1 + both, both, first, batched, "float32") for both, first, batched in FLAGS]
OPTIONS += [(2, False, True, True, "float32"), (1, False, False, True, "float64")]
ARITHMETIC = [
    *("NAC", "NACMul", "NACSigma", "NACNMU", "NALU", "GNALU", "INALU", "NAU", "NMU", "NRU", "NMRU", "NPU"),
    "RealNPU",
]


def flat(results):
    """All tensors of a call's results."""
    if isinstance(results, torch.Tensor):
        return [results]
    return [tensor for result in results for tensor in flat(result)]


def masked(tensor):
    tensor[tensor > 0] = 0.5
    return tensor


def rows(tensor):
    tensor[..., :1] = tensor[..., 1:2]
    return tensor


def without_gradients(change):
    def act(tensor):
        with torch.no_grad():
            change(tensor)
        return tensor

    return act


ACTS = {
    "relu_": functional.relu_,
    "add_": lambda t: t.add_(1),
    "mul_": lambda t: t.mul_(t.detach().clone() + 2),
    "tanh_": lambda t: t.tanh_(),
    "dropout": lambda t: functional.dropout(t, 1.0, inplace=True),
    "masked": masked,
    "rows": rows,
    "zero_ under no_grad": without_gradients(lambda t: t.zero_()),
    "masked under no_grad": without_gradients(masked),
    "detach_": lambda t: t.detach_(),
    "copy_": lambda t: t.copy_(torch.ones_like(t)),
}


def outcome(module, x, act, index):
    """All results after an act on one of them, and all gradients; or the kind of error."""
    module.zero_grad()
    x = x.detach().clone().requires_grad_()
    results = flat(module(x))
    results[index] = act(results[index])
    loss = sum((r * torch.linspace(-1, 1, r.numel(), dtype=r.dtype).reshape(r.shape)).sum() for r in results)
    if not loss.requires_grad:
        return [r.detach() for r in results], []
    gradients = torch.autograd.grad(loss, [x, *module.parameters()], allow_unused=True)
    gradients = [torch.zeros(()) if g is None or not g.any() else g for g in gradients]
    return [r.detach() for r in results], gradients


def assert_as_torch(ours, theirs, x, act, dtype):
    """Ours does what torch's does; where torch's raises, ours does what torch's says of a copy."""
    for index in range(len(flat(ours(x)))):
        try:
            expected = outcome(theirs, x, act, index)
        except RuntimeError:  # of torch's oneDNN layer, and of views: ours has neither
            expected = outcome(theirs, x, lambda t: act(t.clone()), index)
        found = outcome(ours, x, act, index)
        # sums of up to sixty terms of size 1 along six steps: thousands of roundings
        tolerance = {"rtol": 1e-11, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize(("layers", "bidirectional", "batch_first", "batched", "dtype"), OPTIONS)
def test_writes_into_outputs_give_torchs_results(
    kind, layers, bidirectional, batch_first, batched, dtype, act
):
    options = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first}
    options["dtype"] = dtype = getattr(torch, dtype)
    theirs, ours = getattr(torch_nn, kind)(3, 5, **options), getattr(nn, kind)(3, 5, **options)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(*((4, 2, 3) if batched else (6, 3)), dtype=dtype)
    assert_as_torch(ours, theirs, x, ACTS[act], dtype)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell"])
@pytest.mark.parametrize("lead", [(4,), ()], ids=str)
def test_writes_into_a_cells_outputs_give_torchs_results(kind, lead, act):
    theirs, ours = getattr(torch_nn, kind)(3, 5).double(), getattr(nn, kind)(3, 5).double()
    ours.load_state_dict(theirs.state_dict())
    assert_as_torch(ours, theirs, torch.randn(*lead, 3, dtype=torch.float64), ACTS[act], torch.float64)


def tensors_of(kind, models, **options):
    """A module, an input, and what its outputs are."""
    lead = () if models is None else (models,)
    if kind == "RecurrentUnit":
        return nn.RecurrentUnit("NMU", models=models), torch.rand(*lead, 4, 3) + 0.5
    steps = (4,) if kind in ("LSTM", "GRU") else ()
    return getattr(nn, kind)(3, 2, models=models, **options), torch.rand(*lead, *steps, 6, 3) + 0.5


@pytest.mark.parametrize("act", ["tanh_", "rows", "masked under no_grad", "detach_"])
@pytest.mark.parametrize("models", [None, 3])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "LSTMCell", "GRUCell", "RecurrentUnit", *ARITHMETIC])
def test_writes_into_outputs_equal_writes_into_copies(kind, models, act):
    module, x = tensors_of(kind, models)

    class Copying(torch_nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            return [result.clone() for result in flat(self.inner(x))]

    torch.manual_seed(3)
    for index in range(len(flat(module(x)))):
        found, expected = (outcome(m, x, ACTS[act], index) for m in (module, Copying()))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("models", [None, 3])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "LSTMCell", "GRUCell", "RecurrentUnit", *ARITHMETIC])
def test_outputs_are_no_views_and_share_no_memory(kind, models, recorded):
    for options in (
        [{}, {"batch_first": True, "bidirectional": True, "num_layers": 2}]
        if kind in ("LSTM", "GRU")
        else [{}]
    ):
        module, x = tensors_of(kind, models, **options)
        with torch.set_grad_enabled(recorded):
            results = flat(module(x, return_cells=True) if kind == "LSTM" else module(x))
        assert not any(result._is_view() for result in results)
        assert len({r.untyped_storage().data_ptr() for r in results}) == len(results)
        before = [result.clone() for result in results]
        results[0].detach_().fill_(7.0)
        assert all(map(torch.equal, results[1:], before[1:]))
        assert (results[0] == 7).all()


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_packed_sequences_outputs_may_be_written_into(kind):
    theirs, ours = getattr(torch_nn, kind)(3, 5).double(), getattr(nn, kind)(3, 5).double()
    ours.load_state_dict(theirs.state_dict())
    x, found = torch.randn(6, 4, 3, dtype=torch.float64), []
    packed = pack_padded_sequence(x, [4, 1, 6, 4], enforce_sorted=False)
    for module in (ours, theirs):
        y, states = module(packed)
        y.data.relu_()
        flat(states)[0].mul_(2)
        loss = y.data.square().sum() + sum(state.sum() for state in flat(states))
        found.append(torch.autograd.grad(loss, list(module.parameters())))
        flat(states)[0].detach_()
    # float64: some tens of roundings in another order, carried through a few steps
    torch.testing.assert_close(found[0], found[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_truncated_backpropagation_with_states_reset_in_place(kind):
    """Stateful training: states are detached in place, and those of rows that have ended set to 0."""
    theirs, ours = getattr(torch_nn, kind)(3, 5, 2).double(), getattr(nn, kind)(3, 5, 2).double()
    ours.load_state_dict(theirs.state_dict())
    data, found = torch.randn(4, 6, 2, 3, dtype=torch.float64), []
    for module in (ours, theirs):
        optimizer, hx = torch.optim.SGD(module.parameters(), lr=0.1), None
        for step, x in enumerate(data):
            y, hx = module(x, hx)
            optimizer.zero_grad()
            y.square().sum().backward()
            optimizer.step()
            for state in flat(hx):
                state.detach_()
                with torch.no_grad():
                    state[:, step % 2] = 0
        found.append([*flat(hx), *(p.detach() for p in module.parameters())])
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_writes_into_outputs_inside_transforms_and_graphs(kind):
    """What backward reads is a copy there too."""
    torch._dynamo.reset()
    module = getattr(nn, kind)(3, 5, batch_first=True).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64)

    def written(x):
        y, states = module(x)
        return y.relu_().square().sum() + sum(state.mul_(2).sum() for state in flat(states))

    def apart(x):
        y, states = module(x)
        return y.relu().square().sum() + sum((2 * state).sum() for state in flat(states))

    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad(apart(leaf), leaf)[0]
    torch.testing.assert_close(torch.func.grad(written)(x), expected, rtol=1e-12, atol=1e-12)
    compiled = torch.compile(written, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(leaf), leaf)[0], expected)
    y, states = torch.compile(module, fullgraph=True, backend="aot_eager")(leaf)
    loss = y.relu_().square().sum() + sum(state.mul_(2).sum() for state in flat(states))
    torch.testing.assert_close(torch.autograd.grad(loss, leaf)[0], expected)
