"""What is special to the real neural power unit; the rest is in test_layers.py and test_modules.py."""

import pytest
import torch

from mathkernels import nn, reference
from mathkernels.ops import real_npu
from mathkernels.testing import results

EPSILON = 2.0**-23


def test_whole_weights_behind_open_gates_multiply_and_divide_with_their_signs(isa):
    x = torch.tensor([[[3.0, 8.0], [-2.0, 4.0], [-3.0, -2.0]]], dtype=torch.float64)
    weight = torch.tensor([[[1.0, -1.0], [1.0, 1.0], [2.0, 0.0]]], dtype=torch.float64)
    expected = torch.tensor([[[0.375, 24, 9], [-0.5, -8, 4], [1.5, 6, 9]]], dtype=torch.float64)
    found = real_npu(x, weight, torch.ones(1, 2, dtype=torch.float64), 0.0)
    # exp of a sum of logarithms: some ULP of it, 2.2e-16 each
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_a_closed_gate_hides_its_input(isa):
    x = torch.tensor([[[3.0, 8.0], [3.0, -5.0], [3.0, 0.0]]])
    y = real_npu(x, torch.ones(1, 1, 2), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(y, torch.full((1, 3, 1), 3.0))


def test_gates_beyond_their_range_act_as_its_ends_and_get_no_gradient(isa):
    x = torch.rand(1, 40, 4, dtype=torch.float64) + 1.5
    gate = torch.tensor([[-0.3, 0.0, 1.0, 1.2]], dtype=torch.float64)
    weight = torch.rand(1, 3, 4, dtype=torch.float64)
    ours = results(real_npu, [x, weight, gate])
    exact = results(lambda *t: reference.real_npu(*t, EPSILON), [x, weight, gate])
    assert torch.equal(real_npu(x, weight, gate), real_npu(x, weight, gate.clamp(0, 1)))
    assert (ours[3] == 0).tolist() == [[True, False, False, True]]
    for mine, true in zip(ours, exact, strict=True):
        # float64: functions of libm, and sums over 40 rows in another order
        torch.testing.assert_close(mine, true, rtol=1e-11, atol=1e-11)


def test_the_gates_gradient_adds_over_the_outputs(isa):
    x, weight = torch.rand(2, 40, 3, dtype=torch.float64) - 0.5, torch.rand(2, 5, 3, dtype=torch.float64)
    gate = torch.full((2, 3), 0.5, dtype=torch.float64, requires_grad=True)
    together = torch.autograd.grad(real_npu(x, weight, gate).sum(), gate)[0]
    apart = [torch.autograd.grad(real_npu(x, weight[:, o : o + 1], gate).sum(), gate)[0] for o in range(5)]
    torch.testing.assert_close(together, sum(apart))


def test_an_input_of_zero_counts_as_positive(isa):
    y = real_npu(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), torch.ones(1, 1))
    torch.testing.assert_close(y, torch.full((1, 1, 1), EPSILON))


@pytest.mark.parametrize(
    ("clip", "weight_clipped", "gate_clipped"),
    [("none", False, False), ("g", False, True), ("w", True, False), ("wg", True, True)],
)
def test_clip_says_what_is_clamped(clip, weight_clipped, gate_clipped):
    layer = nn.RealNPU(2, 1, clip=clip)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-3.0, 3.0]]))
        layer.gate.copy_(torch.tensor([-3.0, 3.0]))
    layer.clamp_()
    assert layer.weight.tolist() == [[-1.0, 1.0] if weight_clipped else [-3.0, 3.0]]
    assert layer.gate.tolist() == ([0.0, 1.0] if gate_clipped else [-3.0, 3.0])


@pytest.mark.parametrize("weight_target", ["signed-unit", "ternary"])
@pytest.mark.parametrize("norm_order", [1, 2])
@pytest.mark.parametrize("models", [None, 3])
def test_regularizer_adds_its_three_terms(weight_target, norm_order, models):
    options = {
        "weight_penalty": 2.0,
        "gate_penalty": 3.0,
        "weight_target": weight_target,
        "norm_order": norm_order,
    }
    layer = nn.RealNPU(2, 4, models=models, **options)
    weight, gate = (p if models else p[None] for p in (layer.weight, layer.gate))
    discrete = 2 * reference.discretisation(weight, weight_target) + 3 * reference.discretisation(
        gate, "unit"
    )
    norm = sum(torch.linalg.vector_norm(p.flatten(1), norm_order, dim=1) for p in (weight, gate))
    expected = 0.5 * discrete + 0.01 * norm
    torch.testing.assert_close(layer.regularizer(ramp=0.5, beta=0.01), expected if models else expected[0])


def test_without_weights_the_regularizer_is_zero():
    assert torch.equal(nn.RealNPU(2, 1).regularizer(), torch.tensor(0.0))
    assert torch.equal(nn.RealNPU(2, 1, models=3).regularizer(), torch.zeros(3))


def test_the_modified_unit_has_the_papers_options_and_takes_others():
    layer = nn.RealNPU.modified(2, 1, models=3, weight_target="ternary")
    assert (layer.clip, layer.init, layer.weight_penalty, layer.gate_penalty) == (
        "wg",
        "xavier-constrained",
        1,
        1,
    )
    assert (layer.models, layer.weight_target) == (3, "ternary")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("clip", "gw", "clip is 'gw'; needs one of 'none', 'g', 'w', 'wg'"),
        ("init", "he", "init is 'he'; needs one of 'xavier', 'xavier-constrained'"),
        ("weight_target", "unit", "weight_target is 'unit'; needs one of 'signed-unit', 'ternary'"),
        ("norm_order", 3, "norm_order is 3; needs one of 1, 2"),
        ("epsilon", -1.0, "epsilon is -1.0; needs a finite number of at least 0"),
        ("gate_penalty", float("nan"), "gate_penalty is nan; needs a finite number of at least 0"),
    ],
)
def test_impossible_options_are_named(option, value, message):
    with pytest.raises(ValueError, match=f"RealNPU: {message}"):
        nn.RealNPU(2, 1, **{option: value})
