"""Units along sequences: the op against its loop in plain torch, and the module around it."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from mathkernels import _C, backends, nn, ops, reference
from mathkernels.reference.recurrent import UNITS
from mathkernels.testing import assert_no_worse_than, poisoned_memory, results

EPSILON = 1e-7
# E, T, B: the batch around 32 columns and around a block of 128 rows. None is a single sample: where terms
# cancel, its gradient says nothing of the size of what was rounded.
SHAPES = [(1, 1, 16), (3, 5, 7), (2, 3, 33), (1, 4, 127), (2, 2, 259)]
EMPTY_SHAPES = [(0, 3, 2), (2, 0, 3), (2, 3, 0)]
MODULES = ("NAC", "NACMul", "NACSigma", "NACNMU", "NALU", "NAU", "NMU")

every_unit = pytest.mark.parametrize("unit", UNITS)


def ours(unit):
    return lambda l, weight, initial: ops.recurrent_unit(l, weight, initial, unit, EPSILON)


def theirs(unit):
    return lambda l, weight, initial: reference.recurrent_unit(l, weight, initial, unit, EPSILON)


def leaves(unit: str, shape: tuple[int, int, int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Scalars of both signs with 0.3 < |l| < 1.7, weights away from kinks and inside the units' ranges."""
    E, T, B = shape
    l = torch.empty(E, T, B, dtype=torch.float64).uniform_(0.3, 1.7)
    l = l * (torch.rand(E, T, B) < 0.5).double().mul(2).sub(1)
    low, high = {"nmu": (0.1, 0.9), "nac_nmu": (0.1, 0.9), "nau": (-0.9, 0.9)}.get(unit, (-1.5, 1.5))
    weight = torch.empty(E, UNITS[unit][1], dtype=torch.float64).uniform_(low, high)
    initial = torch.empty(E, B, dtype=torch.float64).uniform_(0.5, 1.5)
    return [leaf.to(dtype) for leaf in (l, weight, initial)]


def assert_same_bits(ours, theirs):
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.equal(a, b), f"result {index} differs by up to {(a - b).abs().max()}"


@every_unit
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float32_is_no_worse_than_torch_on_every_instruction_set(unit, shape, isa):
    # each of the T steps rounds two terms or factors, in an order that torch does not share; the two paths of
    # a NALU nearly cancel for some samples, where both sides lose some 5 bits and the worse is chance
    floor = 4 + 2 * shape[1] + (32 if unit == "nalu" else 0)
    assert_no_worse_than(ours(unit), theirs(unit), leaves(unit, shape, torch.float32), floor_ulp=floor)
    assert backends.last() is not None
    assert (backends.last().op, backends.last().isa) == ("recurrent_unit_backward", isa)


@every_unit
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (1, 40, 131), *EMPTY_SHAPES], ids=str)
def test_float64_equals_the_reference(unit, shape, isa):
    given = leaves(unit, shape)
    for found, exact in zip(results(ours(unit), given), results(theirs(unit), given), strict=True):
        # sums of at most T * B products, each behind T steps: 1e-11 leaves ten thousand roundings
        torch.testing.assert_close(
            found, exact, rtol=1e-11, atol=1e-11 * max([1.0, *exact.abs().flatten().tolist()])
        )


@every_unit
def test_first_and_second_gradients(unit):
    given = [leaf.requires_grad_() for leaf in leaves(unit, (2, 3, 3))]
    assert torch.autograd.gradcheck(ours(unit), given)
    given = [leaf.requires_grad_() for leaf in leaves(unit, (2, 2, 1))]
    assert torch.autograd.gradgradcheck(ours(unit), given)


@every_unit
def test_op_contract(unit):
    given = leaves(unit, (2, 3, 5), torch.float32)
    h = ours(unit)(*given)
    torch.library.opcheck(torch.ops.mathkernels.recurrent_unit.default, (*given, unit, EPSILON))
    torch.library.opcheck(
        torch.ops.mathkernels.recurrent_unit_backward.default,
        (torch.ones_like(h), *given, h, unit, EPSILON),
        test_utils=("test_schema", "test_faketensor"),
    )


@every_unit
def test_vmap_of_grad(unit):
    given = leaves(unit, (3, 4, 5))

    def gradient(function):
        def loss(*one):
            return function(*(leaf[None] for leaf in one)).square().sum()

        return torch.vmap(torch.func.grad(loss, argnums=(0, 1, 2)))(*given)

    torch.testing.assert_close(gradient(ours(unit)), gradient(theirs(unit)))


def test_vmap_over_the_scalars_only_with_a_number_before_them():
    l, weight, _ = leaves("nmu", (2, 4, 5))
    stacked = torch.stack([l, 2 * l, -l])
    found = torch.vmap(lambda one: ops.recurrent_unit(one, weight, 1.0, "nmu"))(stacked)
    expected = torch.stack([theirs("nmu")(one, weight, one.new_ones(2, 5)) for one in stacked])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_to_one_graph_with_the_same_bits(dynamic):
    torch._dynamo.reset()
    for unit in ("nmu", "nalu"):
        given = leaves(unit, (2, 3, 5), torch.float32)
        compiled = torch.compile(ours(unit), fullgraph=True, backend="aot_eager", dynamic=dynamic)
        assert_same_bits(results(compiled, given), results(ours(unit), given))


@every_unit
def test_a_model_alone_equals_itself_in_the_ensemble(unit, isa):
    together = leaves(unit, (3, 4, 150), torch.float32)

    def half_square(*given):
        given = [leaf.detach().requires_grad_() for leaf in given]
        h = ours(unit)(*given)
        return [h.detach(), *torch.autograd.grad(h, given, h.detach())]

    alone = [half_square(*(leaf[e : e + 1] for leaf in together)) for e in range(3)]
    assert_same_bits(half_square(*together), [torch.cat(parts) for parts in zip(*alone, strict=True)])


@every_unit
def test_the_number_of_threads_changes_no_bit(unit):
    given = leaves(unit, (2, 20, 300), torch.float32)
    torch.set_num_threads(1)
    single = results(ours(unit), given)
    torch.set_num_threads(3)
    assert_same_bits(results(ours(unit), given), single)


@every_unit
def test_instruction_sets_with_fma_give_the_same_bits(unit):
    fused = [name for name in backends.available() if name in ("v3", "v4")]
    if len(fused) < 2:
        pytest.skip(f"this machine has only {fused} of v3 and v4")
    for dtype in (torch.float32, torch.float64):
        given, found = leaves(unit, (2, 6, 203), dtype), []
        for name in fused:
            backends.force(name)
            found.append(results(ours(unit), given))
        assert_same_bits(*found)


@every_unit
def test_a_poisoned_model_or_sample_leaves_the_others_alone(unit, isa):
    given = leaves(unit, (3, 4, 45), torch.float32)
    clean = results(ours(unit), given)
    for index, poison in itertools.product(range(3), (math.nan, math.inf)):
        spoiled = [leaf.clone() for leaf in given]
        spoiled[index][1] = poison
        for found, expected in zip(results(ours(unit), spoiled), clean, strict=True):
            assert torch.equal(found[[0, 2]], expected[[0, 2]])
    l = given[0].clone()
    l[0, 2, 44] = math.nan
    found = results(ours(unit), [l, *given[1:]])
    assert found[0][0, 2:, 44].isnan().all()
    for index in (0, 1, 3):  # states, dl, dinitial
        assert torch.equal(found[index][..., :44], clean[index][..., :44])


@every_unit
def test_samples_beyond_the_batch_do_not_reach_the_sums(unit, isa):
    """Samples that are not there would add what is not 0 to the sums of the weights' gradients."""
    given = leaves(unit, (1, 3, 37), torch.float32)
    more = [torch.cat([leaf, torch.full_like(leaf[..., :27], 1.0)], -1) for leaf in (given[0], given[2])]
    padded = [more[0].requires_grad_(), given[1].clone().requires_grad_(), more[1].requires_grad_()]
    h = ours(unit)(*padded)
    dh = torch.zeros_like(h)
    dh[..., :37] = torch.linspace(-1, 1, 3 * 37, dtype=torch.float64).float().reshape(1, 3, 37)
    dweight = torch.autograd.grad(h, padded[1], dh)[0]
    assert_same_bits([results(ours(unit), given)[2]], [dweight])


@every_unit
def test_every_output_is_written_and_strides_do_not_matter(unit):
    for shape in [(3, 5, 7), (1, 2, 130), *EMPTY_SHAPES]:
        given = leaves(unit, shape, torch.float32)
        clean = results(ours(unit), given)
        with poisoned_memory():
            assert_same_bits(results(ours(unit), given), clean)
        strided = [leaf.transpose(-1, -2).contiguous().transpose(-1, -2) for leaf in given]
        assert_same_bits(results(ours(unit), strided), clean)
    dense = [leaf.requires_grad_() for leaf in given]
    assert ours(unit)(*dense).sum().backward() is None  # its gradient has strides of 0


@pytest.mark.parametrize("kind", _C.recurrent_kinds)
@pytest.mark.parametrize(("dtype", "shape"), [(0, (3, 5, 7)), (1, (1, 2, 259))])
def test_kernels_write_inside_their_outputs_and_workspace_only(kind, dtype, shape, isa):
    E, T, B = shape
    real, guard = (torch.float32, torch.float64)[dtype], 64
    sizes = {"l": (E, T, B), "weight": (E, UNITS[kind][1]), "initial": (E, B)}
    l, weight, initial, dh = (torch.rand(s, dtype=real) + 0.2 for s in (*sizes.values(), (E, T, B)))
    outputs = [
        torch.full((math.prod(size) + 2 * guard,), 7777.0, dtype=real)
        for size in ((E, T, B), *sizes.values())
    ]
    h, dl, dweight, dinitial = (buffer[guard:].data_ptr() for buffer in outputs)
    call = _C.recurrent_call(_C.recurrent_kinds[kind], dtype, EPSILON, E, T, B, 2)
    size = _C.recurrent_backward_workspace(call)
    workspace = torch.full((size + 256,), 99, dtype=torch.uint8)
    inputs = [tensor.data_ptr() for tensor in (l, weight, initial)]
    _C.recurrent_forward(call, *inputs, h)
    _C.recurrent_backward(call, dh.data_ptr(), *inputs, h, dl, dweight, dinitial, workspace.data_ptr() + 1)
    for buffer in outputs:
        assert bool((buffer[:guard] == 7777).all() and (buffer[-guard:] == 7777).all())
        assert bool((buffer[guard:-guard] != 7777).all())
    assert (workspace[size + 1 :] == 99).all()
    assert workspace[0] == 99


def test_bad_input_is_named():
    l, weight, initial = leaves("nmu", (2, 3, 5))
    with pytest.raises(ValueError, match=r"unit is 'npu'; needs one of 'nac', .*'nmu'"):
        ops.recurrent_unit(l, weight, initial, "npu")
    with pytest.raises(ValueError, match=r"weight has shape \(2, 2\); needs \(E,6\) for unit 'nalu'"):
        ops.recurrent_unit(l, weight, initial, "nalu")
    message = r"recurrent_unit: shapes disagree: l \(E,T,B\)=\(2, 3, 5\), .*initial \(E,B\)=\(2, 4\)"
    with pytest.raises(ValueError, match=message):
        ops.recurrent_unit(l, weight, initial[:, :4], "nmu")
    with pytest.raises(ValueError, match=r"l \(E,T,B\)=\(3, 5\)"):
        ops.recurrent_unit(l[0], weight, 1.0, "nmu")
    with pytest.raises(TypeError, match=r"weight is torch.float32 on cpu; needs torch.float64 on cpu like l"):
        ops.recurrent_unit(l, weight.float(), initial, "nmu")
    with pytest.raises(TypeError, match=r"l is torch.float16; needs torch.float32 or torch.float64"):
        ops.recurrent_unit(l.half(), weight.half(), initial.half(), "nmu")


# the module


@pytest.mark.parametrize("name", MODULES)
def test_a_module_equals_its_layer_step_by_step(name):
    module = nn.RecurrentUnit(name, models=3, dtype=torch.float64)
    l = torch.empty(3, 4, 5, dtype=torch.float64).uniform_(0.5, 1.5)
    state = torch.full((3, 5), module.initial, dtype=torch.float64)
    for step, h in enumerate(module(l).unbind(1)):
        state = module.unit(torch.stack([l[:, step], state], -1))[..., 0]
        torch.testing.assert_close(h, state, rtol=1e-12, atol=1e-12)  # four steps of a few roundings


def test_whole_weights_accumulate_products_and_sums():
    l = torch.arange(1.0, 7.0).reshape(3, 2)
    for name, expected in [("NMU", l.cumprod(0)), ("NAU", l.cumsum(0))]:
        module = nn.RecurrentUnit(name)
        torch.nn.init.ones_(module.unit.weight)
        assert torch.equal(module(l), expected)
        before = torch.tensor([2.0, 4.0])
        moved = expected * before if name == "NMU" else expected + before
        assert torch.equal(module(l, before), moved)
        assert module.regularizer() == 0
        torch.nn.init.constant_(module.unit.weight, 3.0)
        module.clamp_()
        assert torch.equal(module(l), expected)


def test_the_input_regularizer_is_its_formula():
    """R_z of an input with weight W and mean z: (1 - W) (1 - z)² for products, (1 - |W|) z² for sums."""
    l = torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    product, total = nn.RecurrentUnit("NMU"), nn.RecurrentUnit("NAU")
    product.unit.weight.data = torch.tensor([[1.0, 0.25]])
    total.unit.weight.data = torch.tensor([[-0.5, 1.0]])
    h = product(l)  # states before the steps: 1 and 1, then l_0 (0.25 + 0.75)
    mean = (1 + 1 + 1 + 3) / 4
    torch.testing.assert_close(
        product.input_regularizer(l, h), torch.tensor((0 + 0.75 * (1 - mean) ** 2) / 2)
    )
    torch.testing.assert_close(total.input_regularizer(l, total(l)), torch.tensor((0.5 * 2.5**2 + 0) / 2))
    assert nn.RecurrentUnit("NALU").input_regularizer(l, h) == 0
    many = nn.RecurrentUnit("NMU", models=2)
    both = torch.stack([l, l])
    assert many.input_regularizer(both, many(both)).shape == many.regularizer().shape == (2,)


def test_bad_arguments_of_the_module_are_named():
    with pytest.raises(ValueError, match="RecurrentUnit: unit is 'NPU'; needs one of 'NAC', "):
        nn.RecurrentUnit("NPU")
    with pytest.raises(ValueError, match=r"RecurrentUnit: l has shape \(3,\); needs \(T, B\)"):
        nn.RecurrentUnit("NMU")(torch.ones(3))
    with pytest.raises(ValueError, match=r"l has shape \(3, 2, 2\); needs \(4, T, B\)"):
        nn.RecurrentUnit("NMU", models=4)(torch.ones(3, 2, 2))
    with pytest.raises(ValueError, match=r"initial has shape \(3,\); needs \(2,\)"):
        nn.RecurrentUnit("NMU")(torch.ones(3, 2), torch.ones(3))
