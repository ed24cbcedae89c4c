"""LSTM, GRU and their cells as modules: whatever torch.nn's do, and what is added to it."""

import copy
import itertools

import pytest
import torch
from sequence_op_cases import assert_same_bits
from torch import nn as torch_nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from mathkernels import backends, nn

KINDS, CELLS = ("LSTM", "GRU"), ("LSTMCell", "GRUCell")
every_kind = pytest.mark.parametrize("kind", KINDS)
every_cell = pytest.mark.parametrize("kind", CELLS)
OPTIONS = list(itertools.product((1, 2), (True, False), (False, True), (False, True)))


def pair(kind, *sizes, dtype=torch.float64, **options):
    """torch.nn's module and ours, with its weights."""
    theirs = getattr(torch_nn, kind)(*sizes, **options, dtype=dtype)
    ours = getattr(nn, kind)(*sizes, **options, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def states_of(hx):
    return list(hx) if isinstance(hx, tuple) else [hx]


def initial(kind, *shape, dtype=torch.float64):
    hx = torch.randn(*shape, dtype=dtype), torch.randn(*shape, dtype=dtype)
    return hx if kind.startswith("LSTM") else hx[0]


def values_and_gradients(module, x, *rest, **options):
    """y, final states, and the gradients of x (if real), the parameters and the initial states."""
    module.zero_grad()
    leaves = [x] if x.is_floating_point() else []
    leaves += [state for hx in rest for state in states_of(hx)]
    leaves = [leaf.detach() for leaf in leaves]
    given = [leaf.requires_grad_() for leaf in leaves]
    rebuilt = [given[0]] if x.is_floating_point() else [x]
    if rest:
        tail = given[-len(states_of(rest[0])) :]
        rebuilt.append(tuple(tail) if len(tail) > 1 else tail[0])
    y, hx = module(*rebuilt, **options)
    results = [y, *states_of(hx)]
    loss = sum(
        (result * torch.linspace(-1, 1, result.numel()).reshape(result.shape)).sum() for result in results
    )
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss, [*given, *parameters], allow_unused=True)
    return [r.detach() for r in results], [g for g in gradients if g is not None]


def assert_equal(ours, theirs):
    for found, expected in zip(ours, theirs, strict=True):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape
            # float64 behind a few steps: 1e-11 leaves ten thousand roundings
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@every_kind
@pytest.mark.parametrize(("layers", "bias", "batch_first", "bidirectional"), OPTIONS)
def test_a_module_equals_torch_nn(kind, layers, bias, batch_first, bidirectional):
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
    theirs, ours = pair(kind, 3, 5, layers, **options)
    LD = layers * (2 if bidirectional else 1)
    for shape, states in [((4, 7, 3), (LD, 4 if batch_first else 7, 5)), ((6, 3), (LD, 5))]:
        x, hx = torch.randn(shape, dtype=torch.float64), initial(kind, *states)
        assert_equal(values_and_gradients(ours, x), values_and_gradients(theirs, x))
        assert_equal(values_and_gradients(ours, x, hx), values_and_gradients(theirs, x, hx))
        strided = x.transpose(0, -1).contiguous().transpose(0, -1)
        assert_equal(values_and_gradients(ours, strided, hx), values_and_gradients(theirs, x, hx))
    ran = backends.last()
    assert ran is not None
    assert (ran.op, ran.backend) == (f"{kind.lower()}_backward", "cpu")


@every_kind
@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True)])
def test_a_packed_sequence_equals_torch_nn(kind, enforce_sorted, layers, bidirectional):
    theirs, ours = pair(kind, 3, 5, layers, bidirectional=bidirectional)
    lengths = [6, 4, 4, 1] if enforce_sorted else [4, 1, 6, 4]
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
    hx = initial(kind, layers * (2 if bidirectional else 1), 4, 5)
    for rest in ((), (hx,)):
        found, expected = ours(packed, *rest), theirs(packed, *rest)
        assert_equal([[found[0].data, *states_of(found[1])]], [[expected[0].data, *states_of(expected[1])]])
        for ours_index, theirs_index in zip(found[0][1:], expected[0][1:], strict=True):
            assert (ours_index is None) == (theirs_index is None)
            assert ours_index is None or torch.equal(ours_index, theirs_index)
    found[0].data.square().sum().backward()
    expected[0].data.square().sum().backward()
    assert_equal([[p.grad for p in ours.parameters()]], [[p.grad for p in theirs.parameters()]])


@every_kind
def test_lengths_equal_a_packed_sequence(kind):
    _, ours = pair(kind, 3, 5, 2, bidirectional=True, batch_first=True)
    x, lengths = torch.randn(4, 6, 3, dtype=torch.float64), [4, 1, 6, 3]
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, hx = ours(packed)
    padded, _ = pad_packed_sequence(y, batch_first=True)
    found, states = ours(x, lengths=lengths)
    assert_same_bits([found, *states_of(states)], [padded, *states_of(hx)])
    assert_same_bits([ours(x, lengths=torch.tensor(lengths, dtype=torch.int32))[0]], [found])
    assert_same_bits([ours(x[0], lengths=4)[0]], [found[0]])


@every_kind
def test_a_length_of_zero_leaves_the_initial_state(kind):
    module = getattr(nn, kind)(3, 5, bidirectional=True)
    hx = initial(kind, 2, 2, 5, dtype=torch.float32)
    y, last = module(torch.randn(4, 2, 3), hx, lengths=[0, 4])
    assert not y[:, 0].any()
    for state, first in zip(states_of(last), states_of(hx), strict=True):
        assert torch.equal(state[:, 0], first[:, 0])
        assert not torch.equal(state[:, 1], first[:, 1])


@every_kind
def test_symbols_equal_one_hot_rows(kind):
    _, ours = pair(kind, 7, 5, 2, bidirectional=True)
    symbols = torch.randint(0, 7, (6, 4))
    rows = torch_nn.functional.one_hot(symbols, 7).double()
    for x, one_hot in [(symbols, rows), (symbols.int(), rows), (symbols[:, 0], rows[:, 0])]:
        results, gradients = values_and_gradients(ours, one_hot)
        assert_equal(values_and_gradients(ours, x), (results, gradients[1:]))
    packed = pack_sequence([symbols[:4, 0], symbols[:2, 1]])
    y, _ = ours(packed)
    expected, _ = ours(rows[:4, :1])
    # float64: some tens of roundings in another order, carried through a few steps
    torch.testing.assert_close(pad_packed_sequence(y)[0][:, :1], expected, rtol=1e-11, atol=1e-11)


@every_kind
def test_state_dicts_load_both_ways_with_the_same_names(kind):
    for options in ({}, {"bias": False, "num_layers": 3, "bidirectional": True}):
        theirs, ours = getattr(torch_nn, kind)(3, 4, **options), getattr(nn, kind)(3, 4, **options)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
        theirs.load_state_dict(ours.state_dict())
        assert_same_bits(list(theirs.parameters()), list(ours.parameters()))
        assert [[p.shape for p in group] for group in ours.all_weights] == [
            [p.shape for p in group] for group in theirs.all_weights
        ]
        copied = copy.deepcopy(ours)
        copied.flatten_parameters()
        x = torch.randn(5, 2, 3)
        assert_same_bits([copied(x)[0]], [ours(x)[0]])


@pytest.mark.parametrize("kind", [*KINDS, *CELLS])
def test_the_same_seed_draws_torchs_initial_values(kind):
    torch.manual_seed(5)
    theirs = getattr(torch_nn, kind)(3, 4)
    torch.manual_seed(5)
    ours = getattr(nn, kind)(3, 4)
    assert_same_bits(list(ours.parameters()), list(theirs.parameters()))


@every_kind
@pytest.mark.parametrize("batch_first", [False, True])
def test_many_models_equal_each_alone(kind, batch_first):
    options = {"num_layers": 2, "bidirectional": True, "batch_first": batch_first}
    many = getattr(nn, kind)(3, 5, models=3, **options)
    x, hx = torch.randn(3, 6, 4, 3), initial(kind, 3, 4, 6 if batch_first else 4, 5, dtype=torch.float32)
    rows = torch.tensor([0, 2, 4, 1]) if not batch_first else torch.tensor([0, 2, 4, 1, 3, 3])
    for lengths in (None, rows, torch.stack([rows, rows.flip(0), rows])):
        y, last = many(x, hx, lengths=lengths)
        grads = torch.autograd.grad(y.square().sum() / 2, list(many.parameters()))
        for e in range(3):
            one = getattr(nn, kind)(3, 5, **options)
            one.load_state_dict({name: value[e] for name, value in many.state_dict().items()})
            own = tuple(state[e] for state in states_of(hx))
            own = own if kind == "LSTM" else own[0]
            row = lengths if lengths is None or lengths.dim() == 1 else lengths[e]
            alone, alone_last = one(x[e], own, lengths=row)
            assert_same_bits([alone, *states_of(alone_last)], [y[e], *(s[e] for s in states_of(last))])
            expected = torch.autograd.grad(alone.square().sum() / 2, list(one.parameters()))
            assert_same_bits([grad[e] for grad in grads], expected)


@every_kind
def test_many_models_without_a_batch_and_with_symbols(kind):
    many = getattr(nn, kind)(3, 5, models=2)
    x = torch.randn(2, 6, 3)
    y, last = many(x)
    batched, batched_last = many(x[:, :, None])
    assert_same_bits(
        [y, *states_of(last)], [batched[:, :, 0], *(s[:, :, 0] for s in states_of(batched_last))]
    )
    symbols = torch.randint(0, 3, (2, 6, 4))
    assert many(symbols)[0].shape == (2, 6, 4, 5)
    assert many(symbols[..., 0])[0].shape == (2, 6, 5)


def test_cells_are_those_that_the_states_end_in():
    module = nn.LSTM(3, 5, 2, bidirectional=True, batch_first=True)
    x = torch.randn(4, 6, 3)
    y, (hn, cn), cells = module(x, return_cells=True)
    assert_same_bits([y, hn, cn], [module(x)[0], *module(x)[1]])
    assert [c.shape for c in cells] == [y.shape, y.shape]
    for layer, c in enumerate(cells):
        assert_same_bits([c[:, -1, :5], c[:, 0, 5:]], [cn[2 * layer], cn[2 * layer + 1]])
    packed = pack_padded_sequence(x, [6, 5, 5, 2], batch_first=True)
    y, _, cells = module(packed, return_cells=True)
    assert [c.data.shape for c in cells] == [y.data.shape] * 2
    unbatched = module(x[0], return_cells=True)
    assert unbatched[2][0].shape == unbatched[0].shape


@every_kind
def test_dropout_draws_torchs_numbers_and_only_in_training(kind):
    theirs, ours = pair(kind, 3, 8, 3, dropout=0.5)
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    torch.manual_seed(1)
    expected = theirs(x)[0]
    torch.manual_seed(1)
    found = ours(x)[0]
    # float64: some tens of roundings in another order, carried through a few steps
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    assert not torch.equal(ours(x)[0], found)
    ours.eval()
    assert torch.equal(ours(x)[0], ours(x)[0])
    with pytest.warns(UserWarning, match="dropout is between layers and does nothing with num_layers=1"):
        getattr(nn, kind)(3, 4, dropout=0.5)


@every_cell
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_equals_torch_nn(kind, bias):
    theirs, ours = pair(kind, 3, 5, bias=bias)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for lead in ((4,), ()):
        x, hx = torch.randn(*lead, 3, dtype=torch.float64), initial(kind, *lead, 5)
        for rest in ((), (hx,)):
            found, expected = (states_of(module(x, *rest)) for module in (ours, theirs))
            assert_equal([found], [expected])
            gradients = [
                torch.autograd.grad(sum(s.sin().sum() for s in states), list(module.parameters()))
                for states, module in ((found, ours), (expected, theirs))
            ]
            assert_equal([gradients[0]], [gradients[1]])
    symbols = torch.tensor([2, 0, 1])
    rows = torch_nn.functional.one_hot(symbols, 3).double()
    for x, one_hot in [(symbols, rows), (symbols[0], rows[0])]:
        assert_equal([states_of(ours(x))], [states_of(ours(one_hot))])


@every_cell
def test_many_cells_equal_each_alone(kind):
    many = getattr(nn, kind)(3, 5, models=2)
    x, hx = torch.randn(2, 4, 3), initial(kind, 2, 4, 5, dtype=torch.float32)
    together = states_of(many(x, hx))
    for e in range(2):
        one = getattr(nn, kind)(3, 5)
        one.load_state_dict({name: value[e] for name, value in many.state_dict().items()})
        own = tuple(state[e] for state in states_of(hx))
        assert_same_bits(states_of(one(x[e], own if len(own) > 1 else own[0])), [s[e] for s in together])


@every_kind
def test_autocast_and_request_round_products_to_bfloat16(kind):
    module = getattr(nn, kind)(3, 32, 2, bidirectional=True)
    asked = getattr(nn, kind)(3, 32, 2, bidirectional=True, bfloat16=True)
    asked.load_state_dict(module.state_dict())
    x = torch.randn(6, 4, 3)
    plain = module(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y, hx = module(x)
        rounded, _ = module(x.bfloat16(), initial(kind, 4, 4, 32, dtype=torch.bfloat16))
    assert y.dtype == states_of(hx)[0].dtype == rounded.dtype == torch.float32
    assert_same_bits([y], [asked(x)[0]])
    assert not torch.equal(y, plain)
    # products of factors with 9 bits: 2^-8 of sums of size 1, over two layers of six steps
    torch.testing.assert_close(y, plain, rtol=0, atol=12 * 2.0**-8)
    exact = module.double()
    with torch.autocast("cpu", torch.bfloat16):
        assert exact(x.double())[0].dtype == torch.float64
    assert exact.bfloat16().weight_ih_l0.dtype == torch.bfloat16  # torch's method of that name


@every_kind
@pytest.mark.parametrize(("marked", "graphs"), [(True, [1, 1, 1]), (False, [1, 2, 2])])
def test_compiles_once_for_every_length(kind, marked, graphs):
    """One graph if the steps are marked as dynamic, else a second one once torch has seen them change."""
    torch._dynamo.reset()
    module = getattr(nn, kind)(3, 5, 2, bidirectional=True)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=True, backend=counter)
    for steps, graphs_so_far in zip((5, 9, 14), graphs, strict=True):
        x, found = torch.randn(steps, 4, 3, requires_grad=True), []
        if marked:
            torch._dynamo.mark_dynamic(x, 0)
        for function in (compiled, module):
            y, last = function(x)
            results = [y, *states_of(last)]
            loss = sum(result.square().sum() for result in results)
            found.append([*results, *torch.autograd.grad(loss, [x, *module.parameters()])])
        assert_same_bits(*found)
        assert counter.frame_count == graphs_so_far


@every_kind
@pytest.mark.parametrize("with_lengths", [False, True])
def test_exports_with_dynamic_batch_and_steps(kind, with_lengths):
    module = getattr(nn, kind)(3, 5, 2, bidirectional=True)
    T, B = torch.export.Dim("T", min=2), torch.export.Dim("B", min=2)
    options = {"lengths": torch.tensor([1, 2, 3, 4])} if with_lengths else {}
    shapes = {"x": {0: T, 1: B}, **({"lengths": {0: B}} if with_lengths else {})}
    exported = torch.export.export(module, (torch.randn(5, 4, 3),), options, dynamic_shapes=shapes).module()
    x = torch.randn(8, 6, 3)
    options = {"lengths": torch.tensor([1, 2, 3, 4, 0, 8])} if with_lengths else {}
    assert_same_bits([exported(x, **options)[0]], [module(x, **options)[0]])


@every_kind
def test_checkpointing_and_functional_calls_give_the_same_gradients(kind):
    module = getattr(nn, kind)(3, 5, 2)
    x = torch.randn(6, 4, 3)
    expected = values_and_gradients(module, x)
    leaf = x.clone().requires_grad_()
    y, last = checkpoint(module, leaf, use_reentrant=False)
    weigh = [torch.linspace(-1, 1, r.numel()).reshape(r.shape) for r in (y, *states_of(last))]
    loss = sum((r * w).sum() for r, w in zip((y, *states_of(last)), weigh, strict=True))
    found = torch.autograd.grad(loss, [leaf, *module.parameters()])
    assert_same_bits(found, expected[1])
    called = torch.func.functional_call(module, {k: 2 * v for k, v in module.named_parameters()}, (x,))
    doubled = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in doubled.parameters():
            parameter.mul_(2)
    assert_same_bits([called[0]], [doubled(x)[0]])


@every_kind
def test_parametrised_weights_are_used(kind):
    module = getattr(nn, kind)(3, 5)
    x = torch.randn(4, 2, 3)
    before = module(x)[0]
    torch_nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    torch.testing.assert_close(module(x)[0], before)
    module(x)[0].sum().backward()
    assert module.parametrizations.weight_hh_l0.original0.grad is not None


@every_kind
def test_empty_batches_and_sequences(kind):
    module = getattr(nn, kind)(3, 5, 2, bidirectional=True)
    for shape in [(4, 0, 3), (0, 4, 3), (0, 3)]:
        y, hx = module(torch.randn(shape))
        assert y.shape == (*shape[:-1], 10)
        assert all(state.shape == (4, *shape[1:-1], 5) for state in states_of(hx))
        y.sum().backward()


def test_every_module_shows_what_differs_from_the_defaults():
    assert repr(nn.LSTM(3, 4)) == "LSTM(3, 4)"
    shown = repr(nn.GRU(3, 4, 2, bias=False, dropout=0.5, models=2, bfloat16=True))
    assert shown == "GRU(3, 4, num_layers=2, bias=False, dropout=0.5, models=2, bfloat16=True)"
    assert repr(nn.LSTMCell(3, 4, models=2)) == "LSTMCell(3, 4, models=2)"
