"""Properties that every layer op has, on each of them; what is special to one is in its own file."""

import itertools
import math

import pytest
import torch
from layer_cases import CASES, case_of

from mathkernels import _C, backends
from mathkernels.testing import EMPTY_SHAPES, SHAPES, assert_no_worse_than, poisoned_memory, results

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
# one case of each op, for what its options cannot change
every_op = pytest.mark.parametrize(
    "case", {case.op: case for case in CASES}.values(), ids=lambda case: case.op
)


def assert_same_bits(ours, theirs):
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.equal(a, b), f"result {index} differs by up to {(a - b).abs().max()}"


# The shapes are shared out to the two dtypes: each one runs on every instruction set.
MANY_OUTPUTS = (2, 259, 3, 19)  # more than change between rows and packs together, in two chunks of rows


@every_case
@pytest.mark.parametrize("shape", SHAPES[1::2], ids=str)
def test_float32_is_no_worse_than_torch_on_every_instruction_set(case, shape, isa):
    # each of the K factors or terms of an output adds a rounding, in an order that torch does not share
    factors = case.columns * shape[2] + case.more
    leaves = case.leaves(shape, torch.float32)
    assert_no_worse_than(case.function, case.reference, leaves, floor_ulp=4 + factors)
    assert backends.last() is not None
    assert backends.last().isa == isa


@every_case
@pytest.mark.parametrize("shape", [*SHAPES[::2], MANY_OUTPUTS], ids=str)
def test_float64_equals_the_reference(case, shape, isa):
    leaves = case.leaves(shape)
    for ours, exact in zip(results(case.function, leaves), results(case.reference, leaves), strict=True):
        # each result is a sum of at most B * O products of 2I factors: 1e-12 leaves a thousand roundings
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12 * max(1.0, exact.abs().max().item()))


@every_case
def test_empty_sizes_give_what_the_reference_gives(case):
    for shape in EMPTY_SHAPES:
        leaves = case.leaves(shape)
        for ours, exact in zip(results(case.function, leaves), results(case.reference, leaves), strict=True):
            # without inputs an iNALU still has a gate, whose gradient is a product of four numbers
            torch.testing.assert_close(ours, exact, rtol=1e-15, atol=1e-15)


@every_case
def test_first_and_second_gradients(case):
    leaves = [leaf.requires_grad_() for leaf in case.leaves((2, 3, 2, 2))]
    assert torch.autograd.gradcheck(case.function, leaves)
    # second order is the reference's: what can go wrong is what is handed to it
    leaves = [leaf.requires_grad_() for leaf in case.leaves((2, 1, 2, 1))]
    assert torch.autograd.gradgradcheck(case.function, leaves)


@every_op
def test_op_contract(case):
    leaves = case.leaves((2, 3, 2, 2), torch.float32)
    dy = torch.ones_like(case.function(*leaves))
    torch.library.opcheck(case.forward_op, (*leaves, *case.options))
    contract = ("test_schema", "test_faketensor")  # the test of compilation runs it under AOTAutograd
    torch.library.opcheck(case.backward_op, (dy, *leaves, *case.options), test_utils=contract)


@every_case
def test_vmap_of_grad(case):
    E, shape = 3, (3, 5, 2, 4)

    def gradient(function):
        def loss(*one):
            return function(*(leaf[None] for leaf in one)).square().sum()

        return torch.vmap(torch.func.grad(loss, argnums=tuple(range(len(leaves)))))(*leaves)

    leaves = case.leaves(shape)
    assert gradient(case.function)[0].shape[0] == E
    torch.testing.assert_close(gradient(case.function), gradient(case.reference))


@every_case
def test_vmap_over_some_arguments_only(case):
    x, *parameters = case.leaves((2, 5, 3, 4))
    stacked = torch.stack([x, 2 * x, -x])
    in_dims = (0, *(None for _ in parameters))
    ours = torch.vmap(case.function, in_dims)(stacked, *parameters)
    torch.testing.assert_close(ours, torch.vmap(case.reference, in_dims)(stacked, *parameters))


# Dynamic sizes change what torch traces, and that is the same for all ops: one has options, one a gate.
@pytest.mark.parametrize(
    ("case", "dynamic"),
    [*((case, False) for case in {case.op: case for case in CASES}.values())]
    + [(case, True) for case in (case_of("nmru"), case_of("real_npu"))],
    ids=lambda value: getattr(value, "op", str(value)),
)
def test_compiles_to_one_graph_with_the_same_bits(case, dynamic):
    torch._dynamo.reset()  # all cases share one function, and the number of its recompilations is limited
    leaves = case.leaves((2, 5, 3, 2), torch.float32)
    compiled = torch.compile(case.function, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    assert_same_bits(results(compiled, leaves), results(case.function, leaves))


@every_case
def test_a_model_alone_equals_itself_in_the_ensemble(case, isa):
    leaves = case.leaves((4, 300, 3, 2), torch.float32)
    alone = []
    for e in range(4):
        one = [leaf[e : e + 1].requires_grad_() for leaf in leaves]
        y = case.function(*one)
        alone.append([y.detach(), *torch.autograd.grad(y.square().sum(), one)])
    together = [leaf.requires_grad_() for leaf in leaves]
    y = case.function(*together)
    assert_same_bits(
        [y.detach(), *torch.autograd.grad(y.square().sum(), together)],
        [torch.cat(parts) for parts in zip(*alone, strict=True)],
    )


@every_case
@pytest.mark.parametrize("shape", [(1, 5000, 4, 3), (5, 700, 3, 2)], ids=str)
def test_the_number_of_threads_changes_no_bit(case, shape):
    leaves = case.leaves(shape, torch.float32)
    torch.set_num_threads(1)
    single = results(case.function, leaves)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert_same_bits(results(case.function, leaves), single)


@every_case
def test_instruction_sets_with_fma_give_the_same_bits(case):
    fused = [name for name in backends.available() if name in ("v3", "v4")]
    if len(fused) < 2:
        pytest.skip(f"this machine has only {fused} of v3 and v4")
    for dtype in (torch.float32, torch.float64):
        leaves = case.leaves((2, 333, 5, 3), dtype)
        found = []
        for name in fused:
            backends.force(name)
            found.append(results(case.function, leaves))
        assert_same_bits(*found)


@every_case
def test_strided_inputs_equal_dense_ones(case):
    leaves = case.leaves((2, 40, 3, 4), torch.float32)
    strided = [leaf.transpose(-1, -2).contiguous().transpose(-1, -2) for leaf in leaves]
    assert not all(leaf.is_contiguous() for leaf in strided)
    dense = [leaf.requires_grad_() for leaf in leaves]
    strided = [leaf.requires_grad_() for leaf in strided]
    # the gradient of a sum over an expanded tensor arrives with strides of 0
    gradients = [torch.autograd.grad(case.function(*leaves).sum(), leaves) for leaves in (dense, strided)]
    assert_same_bits(*gradients)
    assert_same_bits([case.function(*dense)], [case.function(*strided)])


@every_case
def test_a_poisoned_model_leaves_the_others_alone(case, isa):
    leaves = case.leaves((3, 45, 3, 2), torch.float32)
    clean = results(case.function, leaves)
    for index, poison in itertools.product(range(len(leaves)), (math.nan, math.inf)):
        spoiled = [part.clone() for part in leaves]
        spoiled[index][1] = poison
        for ours, expected in zip(results(case.function, spoiled), clean, strict=True):
            assert torch.equal(ours[[0, 2]], expected[[0, 2]])


@every_case
def test_a_poisoned_row_leaves_other_rows_alone(case, isa):
    x, *parameters = case.leaves((1, 45, 3, 2), torch.float32)
    clean = results(case.function, [x, *parameters])
    for row in (0, 31, 44):
        spoiled = x.clone()
        spoiled[0, row] = math.nan
        found = results(case.function, [spoiled, *parameters])
        others = torch.arange(45) != row
        for ours, expected in zip(found[:2], clean[:2], strict=True):
            assert torch.equal(ours[:, others], expected[:, others])
        assert found[0][:, row].isnan().all()


@every_case
@pytest.mark.parametrize("batch", [5, 301])  # neither fills its last pack, whatever the width
def test_rows_beyond_the_batch_do_not_reach_the_sums(case, batch, isa):
    """An infinite weight makes NaN of a row that is not there if its result is multiplied by 0 and added."""
    x, weight, *gate = case.leaves((1, batch, 2, 2), torch.float32)
    weight[0, 0, 0] = math.inf
    x = x.abs() + 1.5
    (ours, plain) = (results(f, [x, weight, *gate]) for f in (case.function, case.reference))
    assert torch.equal(ours[2][:, 1].isfinite(), plain[2][:, 1].isfinite())
    torch.testing.assert_close(ours[2][:, 1], plain[2][:, 1], rtol=1e-4, atol=1e-4)


@every_case
def test_every_output_is_written(case):
    for shape in [(3, 5, 2, 7), (1, 257, 3, 2), *EMPTY_SHAPES]:
        leaves = case.leaves(shape, torch.float32)
        clean = results(case.function, leaves)
        with poisoned_memory():
            assert_same_bits(results(case.function, leaves), clean)


@every_op
def test_disagreeing_shapes_are_named(case):
    x, weight, *gate = case.leaves((2, 4, 5, 3))
    message = (
        rf"^{case.op}: shapes disagree: x \(E,B,I\)=\(2, 4, 4\), weight \(E,O,\d?I(\+1)?\)=\(2, 3, \d+\)"
    )
    with pytest.raises(ValueError, match=message):
        case.function(x[..., :4], weight, *gate)
    with pytest.raises(ValueError, match=r"x \(E,B,I\)=\(4, 5\)"):
        case.function(x[0], weight, *gate)
    with pytest.raises(ValueError, match=r"x \(E,B,I\)=\(1, 4, 5\)"):
        case.function(x[:1], weight, *gate)


@every_op
def test_unsupported_dtypes_are_named(case):
    for dtype in (torch.float16, torch.bfloat16, torch.complex64, torch.int64):
        leaves = [leaf.to(dtype) for leaf in case.leaves((2, 4, 5, 3))]
        with pytest.raises(TypeError, match=f"{case.op}: x is {dtype}; needs torch.float32 or torch.float64"):
            case.function(*leaves)


@every_op
def test_mixed_dtypes_and_devices_are_named(case):
    x, weight, *gate = case.leaves((2, 4, 5, 3))
    with pytest.raises(TypeError, match=r"weight is torch.float32 on cpu; needs torch.float64 on cpu like x"):
        case.function(x, weight.float(), *gate)
    with pytest.raises((TypeError, RuntimeError), match="meta"):
        case.function(x, weight.to("meta"), *gate)


@every_case
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device that torch can use")
def test_cuda_tensors_are_served_by_triton_or_refused(case):
    leaves = [leaf.cuda() for leaf in case.leaves((2, 300, 5, 3))]
    if case.op not in ("nmu", "real_npu"):
        with pytest.raises(
            TypeError, match=rf"{case.op}: tensors are on cuda:0; .* pass them with \.cpu\(\)"
        ):
            case.function(*leaves)
        return
    for ours, exact in zip(results(case.function, leaves), results(case.reference, leaves), strict=True):
        # float64, sums of a few numbers in another order
        torch.testing.assert_close(ours, exact, rtol=1e-11, atol=1e-11)
    assert backends.last() is not None
    assert backends.last().backend == "triton"


def guarded(tensor):
    """The tensor's values inside a larger buffer, and the check that the buffer around them is untouched."""
    guard = 64
    buffer = torch.full((tensor.numel() + 2 * guard,), 7777.0, dtype=tensor.dtype)
    inner = buffer[guard : guard + tensor.numel()]
    inner.copy_(tensor.flatten())

    def intact():
        return bool((buffer[:guard] == 7777).all() and (buffer[guard + tensor.numel() :] == 7777).all())

    return inner, intact


@pytest.mark.parametrize("kind", _C.layer_kinds)
@pytest.mark.parametrize(("dtype", "shape"), [(0, (3, 5, 2, 7)), (1, (1, 259, 3, 2)), (0, (2, 33, 9, 1))])
def test_kernels_write_inside_their_outputs_and_workspace_only(kind, dtype, shape, isa):
    E, B, I, O = shape
    real = (torch.float32, torch.float64)[dtype]
    case = case_of(kind.removesuffix("_unsigned"))
    K, G = case.columns * I + case.more, (case.gates or 1) * I
    x, weight, gate, dy = (torch.rand(s, dtype=real) + 0.2 for s in [(E, B, I), (E, O, K), (E, G), (E, B, O)])
    outputs = [guarded(torch.zeros(s, dtype=real)) for s in [(E, B, O), (E, B, I), (E, O, K), (E, G)]]
    y, dx, dweight, dgate = (inner.data_ptr() for inner, _ in outputs)
    call = _C.layer_call(_C.layer_kinds[kind], dtype, True, 1e-7, E, B, I, O, 2)
    sizes = [_C.layer_forward_workspace(call), _C.layer_backward_workspace(call)]
    workspaces = [torch.full((size + 256,), 99, dtype=torch.uint8) for size in sizes]
    inputs = [tensor.data_ptr() for tensor in (x, weight, gate)]
    _C.layer_forward(call, *inputs, y, workspaces[0].data_ptr() + 1)
    _C.layer_backward(call, dy.data_ptr(), *inputs, dx, dweight, dgate, workspaces[1].data_ptr() + 1)
    assert all(intact() for _, intact in outputs)
    assert all((w[size + 1 :] == 99).all() and w[0] == 99 for w, size in zip(workspaces, sizes, strict=True))
