import math

import pytest
import torch

from mathkernels import reference
from mathkernels.ops import clipped_reciprocal
from mathkernels.testing import assert_no_worse_than, poisoned_memory, results

LIMIT = 10.0
SIZES = [0, 1, 3, 4, 15, 16, 17, 31, 8191, 8193, 20_011]


def spread(count, dtype=torch.float64):
    """Values on both sides of the bound 1/LIMIT, of both signs, none within 1e-3 of a kink."""
    x = torch.rand(count, dtype=torch.float64) * 0.4 - 0.2
    return torch.where((x.abs() - 1 / LIMIT).abs() < 1e-3, x * 1.05, x).to(dtype)


@pytest.mark.parametrize("count", SIZES)
def test_float32_is_no_worse_than_torch_on_every_instruction_set(count, isa):
    assert_no_worse_than(
        lambda x: clipped_reciprocal(x, LIMIT),
        lambda x: reference.clipped_reciprocal(x, LIMIT),
        [spread(count)],
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_definition_at_its_edges(dtype, isa):
    limit, bound = 8.0, 0.125
    x = torch.tensor(
        [0.0, -0.0, 1e-30, -1e-30, bound, -bound, 0.1249, 1.0, -4.0, math.inf, -math.inf], dtype=dtype
    )
    y = torch.tensor([8.0, 8.0, 8.0, -8.0, 8.0, -8.0, 8.0, 1.0, -0.25, 0.0, -0.0], dtype=dtype)
    for length in (x.numel(), 3):  # packs and what is left over
        assert torch.equal(clipped_reciprocal(x[:length], limit), y[:length])
    assert clipped_reciprocal(torch.full((5,), math.nan, dtype=dtype), limit).isnan().all()
    leaf = x[[0, 2, 4, 5, 6, 7, 8]].requires_grad_()
    slopes = torch.autograd.grad(clipped_reciprocal(leaf, limit).sum(), leaf)[0]
    assert slopes.tolist() == [0.0, 0.0, -64.0, -64.0, 0.0, -1.0, -1 / 16]


def test_first_and_second_gradients():
    x = spread(12).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: clipped_reciprocal(x, LIMIT), x)
    assert torch.autograd.gradgradcheck(lambda x: clipped_reciprocal(x, LIMIT), x)


@pytest.mark.parametrize("shape", [(), (0, 3), (4, 5)], ids=str)
def test_op_contract(shape):
    x = torch.rand(shape)
    torch.library.opcheck(torch.ops.mathkernels.clipped_reciprocal.default, (x, LIMIT))
    torch.library.opcheck(
        torch.ops.mathkernels.clipped_reciprocal_backward.default, (torch.ones(shape), x, LIMIT)
    )


def test_vmap_of_grad_and_compile():
    x = spread(12).reshape(3, 4)

    def gradient(function):
        return torch.vmap(torch.func.grad(lambda row: function(row, LIMIT).square().sum()))(x)

    torch.testing.assert_close(gradient(clipped_reciprocal), gradient(reference.clipped_reciprocal))
    compiled = torch.compile(lambda x: clipped_reciprocal(x, LIMIT), fullgraph=True, backend="aot_eager")
    for ours, eager in zip(
        results(compiled, [x]), results(lambda x: clipped_reciprocal(x, LIMIT), [x]), strict=True
    ):
        assert torch.equal(ours, eager)


def test_strides_threads_and_unwritten_memory_change_no_bit():
    x = spread(40_000, torch.float32).reshape(200, 200)
    torch.set_num_threads(1)
    expected = results(lambda x: clipped_reciprocal(x, LIMIT), [x.T.contiguous()])
    torch.set_num_threads(3)
    with poisoned_memory():
        found = results(lambda x: clipped_reciprocal(x, LIMIT), [x.T])
    for ours, exact in zip(found, expected, strict=True):
        assert torch.equal(ours, exact)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_limit_is_named(limit):
    with pytest.raises(ValueError, match=f"limit is {limit}; needs a positive finite number"):
        clipped_reciprocal(torch.ones(3), limit)


def test_unsupported_input_is_named():
    with pytest.raises(TypeError, match=r"x is torch\.float16; needs torch\.float32 or"):
        clipped_reciprocal(torch.ones(3, dtype=torch.float16), LIMIT)
    with pytest.raises(
        ValueError, match=r"dy is \(2,\) torch.float32 on cpu, x is \(3,\) torch.float32 on cpu"
    ):
        torch.ops.mathkernels.clipped_reciprocal_backward(torch.ones(2), torch.ones(3), LIMIT)


def test_a_limit_that_no_float32_is_stays_itself_in_float64(isa):
    x = torch.tensor([0.0, -0.01, 0.05], dtype=torch.float64)
    limit = 10.1
    for function in (clipped_reciprocal, reference.clipped_reciprocal):
        assert function(x, limit).tolist() == [limit, -limit, limit]
