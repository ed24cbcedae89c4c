"""Properties of both sequence ops; what only one of them has is in its own file."""

import math

import pytest
import torch
from sequence_op_cases import CASES, EMPTY_SHAPES, KINDS, SHAPES, SHORT, assert_same_bits, joined

from mathkernels import backends, ops
from mathkernels.testing import assert_no_worse_than, poisoned_memory, results

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_kind = pytest.mark.parametrize("case", KINDS, ids=lambda case: case.id)
# The shapes are shared out to the two dtypes: each one runs on every instruction set.


def gradients(function, leaves):
    """All results, and the gradients of half the sum of their squares, where rows do not meet."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    found = function(*leaves)
    loss = sum(result.square().sum() for result in found) / 2
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [r.detach() for r in found], [
        torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, grads, strict=True)
    ]


@every_case
@pytest.mark.parametrize("shape", SHAPES[1::2], ids=str)
def test_float32_is_no_worse_than_torch_on_every_instruction_set(case, shape, isa):
    # each of T steps passes on the rounding of its sums and activations, in an order torch does not share
    leaves, floor = case.leaves(shape, torch.float32), 4 + 2 * shape[1]
    ours, theirs = joined(case.function(shape)), joined(case.reference(shape))
    assert_no_worse_than(ours, theirs, leaves, floor_ulp=floor)
    ran = backends.last()
    assert ran is not None
    assert (ran.op, ran.backend, ran.isa) == (f"{case.kind}_backward", "cpu", isa)


@every_case
@pytest.mark.parametrize("shape", SHAPES[::2], ids=str)
def test_float64_equals_the_reference(case, shape, isa):
    leaves = case.leaves(shape)
    ours, theirs = joined(case.function(shape)), joined(case.reference(shape))
    for found, exact in zip(results(ours, leaves), results(theirs, leaves), strict=True):
        # sums of at most T * B products behind T steps: 1e-11 leaves some ten thousand roundings
        largest = max([1.0, *exact.abs().flatten().tolist()])
        torch.testing.assert_close(found, exact, rtol=0, atol=1e-11 * largest)


@every_case
@pytest.mark.parametrize("shape", EMPTY_SHAPES, ids=str)
def test_empty_sizes_give_what_the_reference_gives(case, shape):
    if case.symbols and shape[3] == 0:
        pytest.skip("no symbol is below 0")
    leaves = case.leaves(shape)
    with poisoned_memory():
        found = gradients(case.function(shape), leaves)
    for ours, exact in zip(found, gradients(case.reference(shape), leaves), strict=True):
        for a, b in zip(ours, exact, strict=True):
            # float64: some tens of roundings in another order, carried through a few steps
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@every_case
def test_first_and_second_gradients(case):
    leaves = [leaf.requires_grad_() for leaf in case.leaves(SHORT)]
    assert torch.autograd.gradcheck(case.function(SHORT), leaves)
    small = (1, 2, 2, 2, 2, 2)
    leaves = [leaf.requires_grad_() for leaf in case.leaves(small)]
    # Along random directions: the second derivative is that of plain torch (ops/_twice.py), and it takes 15
    # times as long number by number. test_composition.py compares it with the meaning's, number by number.
    assert torch.autograd.gradgradcheck(case.function(small), leaves, fast_mode=True)


@every_case
def test_op_contract(case):
    op = getattr(torch.ops.mathkernels, case.kind)
    backward = getattr(torch.ops.mathkernels, f"{case.kind}_backward")
    given = case.arguments(SHORT, case.leaves(SHORT, torch.float32))
    if case.kind == "gru":
        given.insert(6, None)
    y, hn, cn, cells, gates = op.default(*given, True, True, False)
    for flags in ((True, True, False), (False, False, False)):
        torch.library.opcheck(op.default, (*given, *flags))
    cells_of = (cn, cells) if case.kind == "lstm" else (None, None)
    arrived = [None if result is None else torch.ones_like(result) for result in (y, hn, *cells_of)]
    contract = ("test_schema", "test_faketensor")  # the test of compilation runs it under AOTAutograd
    for wants in ((not case.symbols, True, True), (False, True, False), (False, False, True)):
        arguments = (*arrived, *given, y, cells, gates, *wants, False)
        torch.library.opcheck(backward.default, arguments, test_utils=contract)
    arguments = (None, arrived[1], None, None, *given, y, cells, gates, False, True, True, False)
    torch.library.opcheck(backward.default, arguments, test_utils=contract)


@every_case
def test_vmap_of_grad(case):
    shape, alone = (3, 4, 5, 2, 3, 2), (1, 4, 5, 2, 3, 2)
    leaves = case.leaves(shape)

    def gradient(of):
        def loss(*one):
            return sum(result.sin().sum() for result in of(alone)(*(leaf[None] for leaf in one)))

        return torch.vmap(torch.func.grad(loss, argnums=tuple(range(len(leaves)))))(*leaves)

    torch.testing.assert_close(gradient(case.function), gradient(case.reference))


@every_kind
def test_vmap_over_x_only_without_gradients(case):
    shape = (2, 4, 3, 2, 3, 1)
    x, *others = case.leaves(shape)
    stacked = torch.stack([x, 2 * x, -x])
    in_dims = (0, *(None for _ in others))
    found = torch.vmap(case.function(shape), in_dims)(stacked, *others)
    expected = [case.reference(shape)(one, *others) for one in stacked]
    for index, result in enumerate(found):
        torch.testing.assert_close(result, torch.stack([one[index] for one in expected]))


@every_kind
def test_the_hessian_by_reverse_mode_twice(case):
    shape = (1, 2, 1, 2, 2, 1)
    x, *others = case.leaves(shape)

    def hessian(function):
        return torch.func.jacrev(torch.func.jacrev(lambda x: joined(function)(x, *others).sin().sum()))(x)

    torch.testing.assert_close(hessian(case.function(shape)), hessian(case.reference(shape)))


@every_case
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_to_one_graph_with_the_same_bits(case, dynamic):
    torch._dynamo.reset()
    leaves = case.leaves(SHORT, torch.float32)
    function = case.function(SHORT)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for ours, eager in zip(gradients(compiled, leaves), gradients(function, leaves), strict=True):
        assert_same_bits(ours, eager)


@every_case
@pytest.mark.parametrize("shape", [(4, 7, 33, 5, 20, 2), (3, 5, 70, 3, 33, 1)], ids=str)
def test_a_model_alone_equals_itself_in_the_ensemble(case, shape, isa):
    leaves, alone = case.leaves(shape, torch.float32), []
    symbols, lengths = case.fixed(shape)
    one = (1, *shape[1:])
    for e in range(shape[0]):
        # fixed() depends on the models, so that the op is called with a model's own symbols and lengths
        def function(*given, e=e):
            arguments = case.arguments(one, given)
            arguments[0] = arguments[0] if symbols is None else symbols[e : e + 1]
            arguments[-1] = None if lengths is None else lengths[e : e + 1]
            options = {"return_cells": True} if case.kind == "lstm" else {}
            return getattr(ops, case.kind)(*arguments, **options)

        found = gradients(function, [leaf[e : e + 1] for leaf in leaves])
        alone.append([*found[0], *found[1]])
    together = gradients(case.function(shape), leaves)
    assert_same_bits([*together[0], *together[1]], [torch.cat(parts) for parts in zip(*alone, strict=True)])


@every_case
@pytest.mark.parametrize("shape", [(1, 5, 70, 5, 20, 2), (1, 4, 37, 3, 100, 1)], ids=str)
def test_a_row_alone_equals_itself_in_the_batch(case, shape, isa):
    """Results and the gradients of x and the initial states; those of the weights sum over rows."""
    B = shape[2]
    leaves = case.leaves(shape, torch.float32)
    arguments = case.arguments(shape, leaves)
    options = {"return_cells": True} if case.kind == "lstm" else {}

    def run(rows):
        given = list(arguments)
        for index, axis in [(0, 2), (5, 2), (6, 2)]:
            if index < len(given) - 1 and given[index] is not None:
                given[index] = given[index].narrow(axis, rows.start, rows.stop - rows.start)
        given[-1] = None if given[-1] is None else given[-1][:, rows]
        wanted = [t for t in (given[0], *given[5:-1]) if t is not None and t.is_floating_point()]
        given = [t.detach().requires_grad_() if any(t is w for w in wanted) else t for t in given]
        given[1] = given[1].detach().requires_grad_()
        wanted = [t for t in (given[0], *given[5:-1]) if t is not None and t.is_floating_point()]
        found = getattr(ops, case.kind)(*given, **options)
        loss = sum(result.square().sum() for result in found)
        grads = torch.autograd.grad(loss, wanted) if wanted else ()
        return [result.detach() for result in found], grads

    def cut(tensor, row):
        return tensor.narrow(2, row, 1)  # (E,T,B,...) and (E,D,B,H)

    results_of_all, grads_of_all = run(slice(0, B))
    for row in (0, 1, 15, 16, 32, B - 1):
        found, grads = run(slice(row, row + 1))
        assert_same_bits(found, [cut(tensor, row) for tensor in results_of_all])
        assert_same_bits(grads, [cut(tensor, row) for tensor in grads_of_all])


@every_case
@pytest.mark.parametrize("shape", [(1, 6, 300, 5, 20, 2), (5, 4, 40, 3, 33, 1)], ids=str)
def test_the_number_of_threads_changes_no_bit(case, shape):
    leaves = case.leaves(shape, torch.float32)
    torch.set_num_threads(1)
    single = gradients(case.function(shape), leaves)
    for threads in (2, 3, 5):
        torch.set_num_threads(threads)
        for ours, expected in zip(gradients(case.function(shape), leaves), single, strict=True):
            assert_same_bits(ours, expected)


@every_case
def test_instruction_sets_with_fma_give_the_same_bits(case):
    fused = [name for name in backends.available() if name in ("v3", "v4")]
    if len(fused) < 2:
        pytest.skip(f"this machine has only {fused} of v3 and v4")
    shape = (2, 5, 40, 5, 20, 2)
    for dtype in (torch.float32, torch.float64):
        leaves, found = case.leaves(shape, dtype), []
        for name in fused:
            backends.force(name)
            results_of, grads = gradients(case.function(shape), leaves)
            found.append([*results_of, *grads])
        assert_same_bits(*found)


@every_case
def test_a_poisoned_model_leaves_the_others_alone(case, isa):
    shape = (3, 4, 18, 3, 20, 2)
    leaves = case.leaves(shape, torch.float32)
    clean = gradients(case.function(shape), leaves)
    for index in range(len(leaves)):
        for poison in (math.nan, math.inf):
            spoiled = [leaf.clone() for leaf in leaves]
            spoiled[index][1] = poison
            for ours, expected in zip(gradients(case.function(shape), spoiled), clean, strict=True):
                assert_same_bits([t[[0, 2]] for t in ours], [t[[0, 2]] for t in expected])


@every_kind
def test_a_poisoned_row_leaves_other_rows_alone(case, isa):
    shape = (1, 4, 37, 3, 20, 2)
    x, *others = case.leaves(shape, torch.float32)
    clean, clean_grads = gradients(case.function(shape), [x, *others])
    for row in (0, 15, 36):
        spoiled = x.clone()
        spoiled[:, 1, row] = math.nan
        found, grads = gradients(case.function(shape), [spoiled, *others])
        rest = [other for other in range(37) if other != row]
        assert_same_bits([t[:, :, rest] for t in found], [t[:, :, rest] for t in clean])
        assert_same_bits([grads[0][:, :, rest]], [clean_grads[0][:, :, rest]])
        assert found[0][:, 1, row].isnan().all()


@every_kind
def test_what_stands_behind_the_end_of_a_row_is_never_read(case, isa):
    shape = (2, 6, 19, 3, 20, 2)
    case = next(c for c in CASES if c.kind == case.kind and c.lengths and not c.symbols)
    leaves = case.leaves(shape, torch.float32)
    _, lengths = case.fixed(shape)
    clean = gradients(case.function(shape), leaves)
    behind = torch.arange(6)[None, :, None] >= lengths[:, None]
    leaves[0] = torch.where(behind[..., None], math.nan, leaves[0])
    found = gradients(case.function(shape), leaves)
    for ours, expected in zip(found, clean, strict=True):
        assert_same_bits(ours, expected)
    assert (found[0][0][behind] == 0).all()
    assert (found[1][0][behind] == 0).all()


@every_case
def test_every_output_is_written_and_strides_do_not_matter(case):
    for shape in [(2, 3, 5, 4, 7, 2), (1, 4, 130, 2, 20, 1)]:
        leaves = case.leaves(shape, torch.float32)
        clean = gradients(case.function(shape), leaves)
        with poisoned_memory():
            found = gradients(case.function(shape), leaves)
        strided = [leaf.transpose(-1, -2).contiguous().transpose(-1, -2) for leaf in leaves]
        for ours, expected, other in zip(found, clean, gradients(case.function(shape), strided), strict=True):
            assert_same_bits(ours, expected)
            assert_same_bits(other, expected)
        leaves = [leaf.requires_grad_() for leaf in leaves]
        summed = torch.autograd.grad(case.function(shape)(*leaves)[0].sum(), leaves)  # strides of 0
        ones = case.function(shape)(*leaves)[0]
        assert_same_bits(summed, torch.autograd.grad(ones, leaves, torch.ones_like(ones)))


@every_kind
def test_backward_twice_and_inputs_unchanged(case):
    shape = (1, 5, 9, 3, 20, 2)
    leaves = [leaf.requires_grad_() for leaf in case.leaves(shape, torch.float32)]
    before = [leaf.detach().clone() for leaf in leaves]
    y = joined(case.function(shape))(*leaves)
    kept = y.detach().clone()
    first = torch.autograd.grad(y.sum(), leaves, retain_graph=True)
    assert_same_bits(torch.autograd.grad(y.sum(), leaves), first)
    assert_same_bits([y, *leaves], [kept, *before])


@every_kind
def test_nothing_is_saved_and_bits_stay_where_nothing_needs_a_gradient(case):
    shape = (2, 5, 9, 3, 20, 2)
    leaves = case.leaves(shape, torch.float32)
    plain = case.function(shape)(*leaves)
    with_grad = case.function(shape)(*(leaf.clone().requires_grad_() for leaf in leaves))
    assert_same_bits(plain, with_grad)
    with torch.no_grad():
        found = case.function(shape)(*(leaf.clone().requires_grad_() for leaf in leaves))
    assert not any(result.requires_grad for result in (*found, *plain))
    assert_same_bits(found, plain)
    given = case.arguments(shape, leaves)
    if case.kind == "gru":
        given.insert(6, None)
    *_, cells, gates = getattr(torch.ops.mathkernels, case.kind)(*given, False, False, False)
    assert cells.numel() == gates.numel() == 0


@every_case
def test_gradients_that_nobody_wants_change_no_other(case):
    shape = (2, 4, 9, 3, 20, 2)
    leaves = case.leaves(shape, torch.float32)
    everything = gradients(case.function(shape), leaves)[1]
    for index in range(len(leaves)):
        wanted = [leaf.detach().requires_grad_(other == index) for other, leaf in enumerate(leaves)]
        loss = sum(result.square().sum() for result in case.function(shape)(*wanted)) / 2
        loss.backward()
        assert_same_bits([wanted[index].grad], [everything[index]])
        assert [leaf.grad is not None for leaf in wanted] == [other == index for other in range(len(leaves))]


@every_kind
def test_symbols_equal_their_one_hot_rows(case):
    shape = (2, 5, 9, 7, 20, 2)
    case = next(c for c in CASES if c.kind == case.kind and c.symbols and c.lengths)
    leaves = case.leaves(shape)
    arguments = case.arguments(shape, leaves)
    rows = torch.nn.functional.one_hot(arguments[0], 7).double()
    found = getattr(ops, case.kind)(*arguments)
    for ours, expected in zip(found, getattr(ops, case.kind)(rows, *arguments[1:]), strict=True):
        # float64: a row of a weight, or the sum of its products with 0 and 1
        torch.testing.assert_close(ours, expected, rtol=1e-13, atol=1e-13)
