"""Zeros, denormal and largest numbers, infinities: where plain torch gives numbers, so does every kernel.

Models of one row and one output each take inputs and weights at random from lists of extreme values. A model
counts where plain torch's y and gradients, in its dtype, are all finite and the result in float64 is too.
"""

import math

import numpy as np
import pytest
import torch
from layer_cases import CASES, case_of

from mathkernels import ops, reference
from mathkernels.ensemble import SGD, RealNPU, Run, Task, fit
from mathkernels.ops.discretisation import KINDS
from mathkernels.reference.recurrent import UNITS

MODELS = 1500
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def extremes(dtype):
    """Inputs, weights and gates."""
    info = torch.finfo(dtype)
    # float64 has no wider numbers for its reference: there the ends are left out where its own steps round
    least, big = (info.tiny * info.eps, info.max) if dtype == torch.float32 else (info.tiny, 1e75)
    root = math.sqrt(big)
    x = [0.0, -0.0, 3 * least, -3 * least, least, info.tiny / 100, -info.tiny / 100, info.tiny, -info.tiny]
    x += [1.0, -1.0, 0.5, -2.0, 3.0, 1e-7, -1e-7, big / 4, -big / 4, big, -big, root, -root, 1e13, -1e13]
    x += [math.inf, -math.inf]
    weight = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 1e-3, -1e-3, 1e-20]
    tiny = [3 * least, -3 * least, info.tiny, -info.tiny]
    gate = [0.0, -0.0, 1.0, 0.5, -0.3, 1.2, 1e-3, info.tiny / 100, 1 - info.eps / 2]
    return x, weight, tiny, gate


def picked(values, shape, dtype):
    return torch.tensor(values, dtype=dtype)[torch.randint(len(values), shape)]


def models(case, inputs, dtype):
    x, weight, tiny, gate = extremes(dtype)
    if inputs == 1:  # with more, a large input under a gate of 0 and a tiny weight passes E q before w E q
        weight = weight + tiny
    columns = case.columns * inputs + case.more
    leaves = [picked(x, (MODELS, 1, inputs), dtype), picked(weight, (MODELS, 1, columns), dtype)]
    return leaves + ([picked(gate, (MODELS, case.gates * inputs), dtype)] if case.gates else [])


def results(function, leaves):
    """y and its gradients of models that do not know one another, one row a model."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    y = function(*leaves)
    return [y.detach(), *torch.autograd.grad(y.sum(), leaves)]


def change(function, leaves, exact, eps, least):
    """How far the exact results move where inputs and weights do by a few units of their last places."""
    largest = [torch.zeros_like(e) for e in exact]
    for _ in range(6):
        moved = [leaf * (1 + 4 * eps * (2 * torch.rand_like(leaf) - 1)) for leaf in leaves]
        moved[1:] = [leaf + 4 * least * (2 * torch.rand_like(leaf) - 1) for leaf in moved[1:]]
        for k, result in enumerate(results(function, moved)):
            largest[k] = torch.maximum(largest[k], (result - exact[k]).abs().nan_to_num(0, 0, 0))
    return largest


def assert_finite_and_near(function, plain, leaves, atol=0.0):
    dtype = leaves[0].dtype
    info = torch.finfo(dtype)
    theirs = results(plain, leaves)
    double = [leaf.double() for leaf in leaves]
    exact = results(plain, double)
    moves = change(plain, double, exact, info.eps, info.tiny * info.eps)
    finite = torch.stack([t.reshape(len(t), -1).isfinite().all(1) for t in theirs]).all(0)
    assert finite.sum() > len(finite) / 20
    rtol, floor = (1e-4, 1e3 * info.tiny) if dtype == torch.float32 else (1e-9, 1e6 * info.tiny)
    for k, ours in enumerate(results(function, leaves)):
        # the last factor of 8 before the largest number belongs to rounding and to the order of factors
        counts = finite.view(-1, *[1] * (ours.dim() - 1)) & (exact[k].abs() <= info.max / 8)
        tolerance = rtol * exact[k].abs() + 4 * moves[k] + floor + atol
        tolerance += 4 * (theirs[k].double() - exact[k]).abs().nan_to_num(0, 0, 0)
        wrong = counts & ~((ours.double() - exact[k]).abs() <= tolerance)
        rows = wrong.reshape(len(wrong), -1).any(1).nonzero()[:3, 0].tolist()
        told = [([leaf[n].tolist() for leaf in leaves], ours[n].tolist(), exact[k][n].tolist()) for n in rows]
        assert not rows, (
            f"result {k}: {int(wrong.sum())} of {wrong.numel()}, as (leaves, ours, exact): {told}"
        )


@every_case
@both_dtypes
@pytest.mark.parametrize("inputs", [1, 2])
def test_layers_are_finite_and_near_where_plain_torch_is(case, dtype, inputs, isa):
    # where x and 1/x have the weight 1, dx is a difference of numbers around 1
    atol = 16 * torch.finfo(dtype).eps if case.op.startswith("nmru") else 0.0
    assert_finite_and_near(case.function, case.reference, models(case, inputs, dtype), atol)


@pytest.mark.parametrize("unit", UNITS)
@both_dtypes
def test_units_along_sequences_are_finite_and_near_where_plain_torch_is(unit, dtype, isa):
    x, weight, _, _ = extremes(dtype)
    leaves = [
        picked(values, shape, dtype)
        for values, shape in ((x, (MODELS, 1, 1)), (weight, (MODELS, UNITS[unit][1])))
    ]
    leaves.append(picked(x, (MODELS, 1), dtype))
    assert_finite_and_near(
        lambda *t: ops.recurrent_unit(*t, unit=unit, epsilon=1e-7),
        lambda *t: reference.recurrent_unit(*t, unit=unit, epsilon=1e-7),
        leaves,
    )


@both_dtypes
@pytest.mark.parametrize("limit", [10.0, 1e30, 1e-30])
def test_the_clipped_reciprocal_is_finite_and_near_where_plain_torch_is(dtype, limit, isa):
    x = torch.tensor(extremes(dtype)[0], dtype=dtype)[:, None]
    assert_finite_and_near(
        lambda t: ops.clipped_reciprocal(t, limit), lambda t: reference.clipped_reciprocal(t, limit), [x]
    )


@both_dtypes
@pytest.mark.parametrize("kind", KINDS)
def test_discretisation_is_finite_and_near_where_plain_torch_is(dtype, kind, isa):
    x, weight, tiny, _ = extremes(dtype)
    leaf = picked(x + weight + tiny, (MODELS, 2), dtype)
    assert_finite_and_near(
        lambda w: ops.discretisation(w, kind), lambda w: reference.discretisation(w, kind), [leaf]
    )


@pytest.mark.parametrize("op", ["real_npu", "npu"])
@pytest.mark.parametrize("sign", [1, -1])
def test_gates_of_large_inputs_have_gradients(op, sign, isa):
    """E (|x| - 1) = 1e39 is beyond the largest float; E (|x| - 1) / r = 1e26 is not."""
    case = case_of(op)
    x = torch.tensor([[[1e13, sign * 1e13]]])
    weight = torch.tensor([[[1.0, 1.0] + [0.0] * (2 * case.columns - 2)]])
    leaves = [x, weight, torch.ones(1, 2)]
    for ours, exact in zip(
        results(case.function, leaves), results(case.reference, [t.double() for t in leaves]), strict=True
    ):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e22)


# 2 and 3 inputs have a trainer each; with these seeds gradients are finite, but not |x| times those of powers
@pytest.mark.parametrize(
    ("inputs", "low", "seed"), [(2, -4e9, 6), (2, -4e9, 19), (3, 1e9, 38), (3, -4e9, 38)]
)
def test_gates_of_large_inputs_are_trained(inputs, low, seed, isa):
    task = Task(operation="mul", inputs=inputs, interpolation=f"U[{low},4e9]", extrapolation="U[1,2]")
    run = Run(module=RealNPU(norm=None), task=task, seed=seed, optimizer=SGD(lr=1e-32), iterations=0)
    single, double = (fit([run], dtype=name) for name in ("float32", "float64"))
    for key, exact in double.weights(0).items():
        found = single.weights(0)[key]
        assert np.isfinite(found).all()
        # float32 sums of both signs, whose terms are much larger than they are
        np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("op", ["nru", "nru_separate"])
def test_reciprocal_units_have_slopes_at_denormal_and_infinite_inputs(op, training, isa):
    """d(T |x|^w)/dx = T w |x|^(w - 1): |x|^(w - 1) may leave the range where T w of it does not."""
    x = torch.tensor([1e-40, -1e-44, 1e-40, 1e-20, 1e20, math.inf, -math.inf, math.inf])
    weight = torch.tensor([0.0, -0.0, 1e-3, 2.0, 2.0, 1.0, 1.0, 0.5])
    leaves = [x[:, None, None], weight[:, None, None]]
    function, plain = (lambda *t, room=room: getattr(room, op)(*t, training) for room in (ops, reference))
    ours, exact = (
        results(function, leaves)[1].flatten(),
        results(plain, [t.double() for t in leaves])[1].flatten(),
    )
    assert exact.isfinite().all()
    torch.testing.assert_close(ours.double(), exact, rtol=2e-5, atol=0)


@pytest.mark.parametrize("weight", [0.0, 1e-3])
@pytest.mark.parametrize("retrieval", [True, False])
def test_the_reciprocal_of_a_denormal_input_counts_with_its_weight(weight, retrieval, isa):
    """1 / x is beyond the largest float; w / x is 0 or 1e37."""
    x, w = torch.tensor([[[-1e-40]]]), torch.tensor([[[0.0, weight]]])
    ours, exact = (room.nmru(x, w, 2.0**-23, False, retrieval) for room in (ops, reference))
    exact = reference.nmru(x.double(), w.double(), 2.0**-23, False, retrieval)
    torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=0)
    if weight == 0:
        assert results(lambda t: ops.nmru(t, w, 2.0**-23, False, retrieval), [x])[1].item() == 0
