"""The Triton layers under Triton's interpreter against float64 torch; with ``-m gpu`` the same on a device.

The interpreter runs the programs of a launch one after another on the CPU: it proves formulas, indexing and
masks, not synchronisation (the kernels have none: one program owns each output) and not speed.
"""

from __future__ import annotations

import pytest
import torch
import triton_worker
from torch import Tensor

from mathkernels import reference

pytest.importorskip("triton")

EPSILON = 2.0**-23
SHAPES = [
    (1, 1, 1, 1),
    (2, 37, 2, 1),
    (1, 300, 10, 3),
    (1, 33, 19, 17),
]  # E, B, I, O: ragged against every tile size

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device (torch.cuda.is_available() is False)"
)


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    with triton_worker.pool(True, tmp_path_factory.mktemp("triton")) as pool:
        yield pool


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu])])
def call(request):
    """Calls a function of mathkernels.triton on guarded copies of its inputs."""
    if request.param == "cuda":
        return lambda module, function, tensors, extra=(): triton_worker.call(
            module, function, [tensor.cuda() for tensor in tensors], extra
        )
    pool = request.getfixturevalue("interpreter")
    return lambda *args: pool.submit(triton_worker.call, *args).result()


OPS = {"nmu": (reference.nmu, ()), "real_npu": (reference.real_npu, (EPSILON,))}


def inputs(op: str, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """The arguments of an op and dy; gates reach beyond [0, 1]."""
    E, B, I, O = shape
    draw = torch.Generator().manual_seed(I)
    x = torch.randn(E, B, I, generator=draw, dtype=torch.float64)
    weight = torch.rand(E, O, I, generator=draw, dtype=torch.float64)
    gate = torch.rand(E, I, generator=draw, dtype=torch.float64) * 1.6 - 0.3
    dy = torch.randn(E, B, O, generator=draw, dtype=torch.float64)
    arguments = [x, weight] if op == "nmu" else [x, weight - 0.5, gate]
    return [tensor.to(dtype) for tensor in (*arguments, dy)]


def expected(op: str, tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """y and the gradients by autograd, computed in ``dtype``."""
    arguments = [tensor.to(dtype).requires_grad_() for tensor in tensors[:-1]]
    function, extra = OPS[op]
    y = function(*arguments, *extra)
    return [y.detach(), *torch.autograd.grad(y, arguments, tensors[-1].to(dtype))]


def computed(call, op: str, tensors: list[Tensor]) -> list[Tensor]:
    *arguments, dy = tensors
    extra = OPS[op][1]
    return call(op, f"{op}_forward", arguments, extra) + call(op, f"{op}_backward", [dy, *arguments], extra)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("op", OPS)
def test_forward_and_backward_err_at_most_twice_as_much_as_torch(call, op, dtype, shape):
    tensors = inputs(op, shape, dtype)
    exact, torch_too = expected(op, tensors, torch.float64), expected(op, tensors, dtype)
    # floor: some tens of roundings of the largest result, as a sum in another order makes them
    floor = 32 * torch.finfo(dtype).eps
    for got, right, rival in zip(computed(call, op, tensors), exact, torch_too, strict=True):
        assert got.dtype == dtype
        assert got.shape == right.shape
        error, allowed = (got - right).abs().max(), (rival - right).abs().max()
        assert error <= 2 * allowed + floor * right.abs().max()


@pytest.mark.parametrize("op", OPS)
def test_a_model_alone_equals_itself_among_others(call, op):
    tensors = inputs(op, (3, 40, 3, 2))
    together = computed(call, op, tensors)
    alone = computed(call, op, [tensor[1:2] for tensor in tensors])
    for all_models, one in zip(together, alone, strict=True):
        assert torch.equal(all_models[1:2], one)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("shape", [(0, 4, 2, 1), (1, 0, 2, 1), (1, 4, 0, 1), (1, 4, 2, 0)], ids=str)
def test_a_size_of_zero_gives_what_torch_gives(call, op, shape):
    tensors = inputs(op, shape)
    for got, right in zip(computed(call, op, tensors), expected(op, tensors, torch.float32), strict=True):
        assert torch.equal(got, right)


def test_an_nmu_factor_of_zero_leaves_the_products_of_the_others(call):
    x = torch.tensor([[[0.0, 3.0, 5.0], [0.0, 0.0, 2.0]]])
    weight, dy = torch.ones(1, 1, 3), torch.ones(1, 2, 1)
    dx, dweight = call("nmu", "nmu_backward", [dy, x, weight])
    assert dx.tolist() == [[[15.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    assert dweight.tolist() == [[[-15.0, 0.0, 0.0]]]


@pytest.mark.parametrize("op", OPS)
def test_a_nan_row_and_an_infinite_output_stay_among_themselves(call, op):
    x, weight, *rest = inputs(op, (2, 35, 3, 2))
    x[0, 4] = torch.nan
    weight[1, 0, 0] = torch.inf
    y, dx, dweight, *_ = computed(call, op, [x, weight, *rest])
    assert y[0, 4].isnan().all()
    assert dx[0, 4].isnan().all()
    other_rows = torch.arange(35) != 4
    assert y[0, other_rows].isfinite().all()
    assert dx[0, other_rows].isfinite().all()
    assert y[1, :, 1].isfinite().all()
    assert dweight[1, 1].isfinite().all()
