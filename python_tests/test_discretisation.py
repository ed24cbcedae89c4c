import math

import pytest
import torch

from mathkernels import backends, reference
from mathkernels.ops import discretisation
from mathkernels.testing import assert_no_worse_than, poisoned_memory, results

KINDS = ("unit", "ternary", "signed-unit")
SHAPES = [(1, 1), (3, 5), (2, 31), (2, 32, 2), (1, 8191), (2, 8193), (3, 20_011), (4,)]
every_kind = pytest.mark.parametrize("kind", KINDS)


def weights(shape, dtype=torch.float64):
    return (torch.rand(shape, dtype=torch.float64) * 4 - 2).to(dtype)


@every_kind
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float32_is_no_worse_than_torch_on_every_instruction_set(kind, shape, isa):
    assert_no_worse_than(
        lambda w: discretisation(w, kind), lambda w: reference.discretisation(w, kind), [weights(shape)]
    )


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_slopes_at_every_kink_are_those_of_torch(kind, dtype, isa):
    kinks = torch.tensor(
        [-2.0, -1.5, -1.0, -0.75, -0.5, -0.25, -0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0], dtype=dtype
    )
    for w in (kinks[:, None], kinks[None]):  # what is left over after packs, and packs
        ours = results(lambda w: discretisation(w, kind), [w])
        for mine, theirs in zip(ours, results(lambda w: reference.discretisation(w, kind), [w]), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("kind", "zeros"), [("unit", [0.0, 1.0]), ("ternary", [-1.0, 0.0, 1.0]), ("signed-unit", [-1.0, 1.0])]
)
def test_the_penalty_is_zero_where_it_draws_to_and_only_there(kind, zeros):
    grid = torch.arange(-16, 17) / 8
    assert grid[discretisation(grid, kind) == 0].tolist() == zeros


@every_kind
def test_first_and_second_gradients(kind):
    w = torch.tensor([[-1.3, -0.7, -0.2, 0.3, 0.8, 1.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: discretisation(w, kind), w)
    assert torch.autograd.gradgradcheck(lambda w: discretisation(w, kind), w)


@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 3), (5,)], ids=str)
def test_op_contract(shape):
    w = weights(shape, torch.float32)
    torch.library.opcheck(torch.ops.mathkernels.discretisation.default, (w, "unit"))
    dy = torch.ones(shape[0])
    torch.library.opcheck(torch.ops.mathkernels.discretisation_backward.default, (dy, w, "unit"))


@every_kind
def test_vmap_of_grad_and_compile(kind):
    w = weights((3, 2, 5))

    def gradient(function):
        return torch.vmap(torch.func.grad(lambda one: function(one, kind).square().sum()))(w)

    torch.testing.assert_close(gradient(discretisation), gradient(reference.discretisation))
    compiled = torch.compile(lambda w: discretisation(w, kind), fullgraph=True, backend="aot_eager")
    for ours, eager in zip(
        results(compiled, [w]), results(lambda w: discretisation(w, kind), [w]), strict=True
    ):
        assert torch.equal(ours, eager)


@every_kind
def test_threads_company_and_unwritten_memory_change_no_bit(kind, isa):
    w = weights((3, 20_011), torch.float32)
    torch.set_num_threads(1)
    alone = [results(lambda w: discretisation(w, kind) * 2, [w[e : e + 1]]) for e in range(3)]
    torch.set_num_threads(3)
    with poisoned_memory():
        value, slope = results(lambda w: discretisation(w, kind) * 2, [w])
    assert torch.equal(value, torch.cat([one[0] for one in alone]))
    torch.testing.assert_close(slope.abs()[0], alone[0][1].abs()[0], rtol=0, atol=0)


@every_kind
def test_a_poisoned_model_leaves_the_others_alone(kind, isa):
    w = weights((3, 45), torch.float32)
    clean = results(lambda w: discretisation(w, kind), [w])
    for poison in (math.nan, math.inf):
        spoiled = w.clone()
        spoiled[1, -1] = poison
        found = results(lambda w: discretisation(w, kind), [spoiled])
        assert not found[0][1].isfinite()
        for ours, expected in zip(found, clean, strict=True):
            assert torch.equal(ours[[0, 2]], expected[[0, 2]])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device that torch can use")
@every_kind
def test_on_a_gpu_plain_torch_computes_it_if_enabled_and_says_so(kind):
    backends.enable("torch")
    w = weights((3, 5)).cuda()
    for ours, exact in zip(
        results(lambda w: discretisation(w, kind), [w]),
        results(lambda w: reference.discretisation(w, kind), [w]),
        strict=True,
    ):
        assert torch.equal(ours, exact)
    assert backends.last().backend == "torch"


def test_no_weights_have_no_mean():
    assert discretisation(torch.zeros(2, 0), "unit").isnan().all()
    assert discretisation(torch.zeros(0, 3), "unit").shape == (0,)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="kind is 'binary'; needs one of 'unit', 'ternary', 'signed-unit'"):
        discretisation(torch.zeros(2, 3), "binary")
    with pytest.raises(ValueError, match=r"weight is a single number; needs \(E,...\)"):
        discretisation(torch.tensor(1.0), "unit")
    with pytest.raises(TypeError, match=r"weight is torch\.bfloat16"):
        discretisation(torch.zeros(2, 3, dtype=torch.bfloat16), "unit")
    with pytest.raises(ValueError, match=r"dy \(E\)=\(3,\)"):
        torch.ops.mathkernels.discretisation_backward(torch.ones(3), torch.ones(2, 3), "unit")
