"""What is special to the NALU, G-NALU and iNALU; the rest is in test_layers.py and test_modules.py."""

import math

import pytest
import torch

from mathkernels import nn, ops, reference
from mathkernels.reference.nalu import GOLDEN
from mathkernels.testing import results

LARGE = 100.0  # tanh and sigmoid are 1 there in float64, to the base of the golden ratio too


def columns(*values):
    return torch.tensor([[[v for part in values for v in part]]], dtype=torch.float64)


def test_the_gate_chooses_between_the_paths(isa):
    x = torch.tensor([[[2.0, -5.0]]], dtype=torch.float64)
    ones = [LARGE] * 2
    for gate, nac, nau_nmu in ([LARGE, 0], -3.0, -3.0), ([-LARGE, 0], 10.0, -10.0):  # the NAC. loses the sign
        found = [
            ops.nalu(x, columns(ones, ones, gate), 0.0),
            ops.gnalu(x, columns(ones, ones, gate), 0.0),
            ops.nalu_separate(x, columns(ones, ones, ones, ones, gate), 0.0),
            ops.nalu_nau_nmu(x, columns([1, 1], [1, 1], gate)),
        ]
        assert [y.item() for y in found] == pytest.approx([nac, nac, nac, nau_nmu], rel=1e-12)


def test_shared_weights_are_separate_ones_that_agree(isa):
    x, weight = torch.randn(2, 50, 3, dtype=torch.float64), torch.randn(2, 4, 9, dtype=torch.float64)
    twice = torch.cat([weight[..., :6], weight], dim=-1)
    torch.testing.assert_close(ops.nalu(x, weight), ops.nalu_separate(x, twice))
    dweight, dtwice = results(ops.nalu, [x, weight])[2], results(ops.nalu_separate, [x, twice])[2]
    torch.testing.assert_close(dweight[..., :6], dtwice[..., :6] + dtwice[..., 6:12])


def test_the_golden_ratio_scales_what_tanh_and_sigmoid_see(isa):
    x, weight = torch.randn(2, 50, 3, dtype=torch.float64), torch.randn(2, 4, 9, dtype=torch.float64)
    torch.testing.assert_close(ops.gnalu(x, weight), ops.nalu(x, weight * math.log(GOLDEN)))
    power = GOLDEN ** (2 * weight)
    torch.testing.assert_close((power - 1) / (power + 1), torch.tanh(weight * math.log(GOLDEN)))


def test_factors_of_exactly_zero_have_the_right_gradient(isa):
    x = torch.rand(1, 40, 3, dtype=torch.float64) + 1
    x[..., 0], x[..., 1] = -1.0, 0.0
    gated = columns([0.3, -1, 1], [0.5, 1.0, 0.5], [0.1, 0.2, 0.3])  # w x + 1 - w = 0 twice
    half = math.atanh(0.5)
    signed = columns(
        [1] * 3, [1] * 3, [half, LARGE, half], [LARGE] * 3, [0.3]
    )  # sign |w| + 1 - |w| = 0 twice
    for op, exact, weight in (
        (ops.nalu_nau_nmu, reference.nalu_nau_nmu, gated),
        (ops.inalu, lambda *leaves: reference.inalu(*leaves, 1e-7), signed),
    ):
        for mine, true in zip(results(op, [x, weight]), results(exact, [x, weight]), strict=True):
            assert true.isfinite().all()
            torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)


def test_the_inalu_keeps_signs_and_limits_both_ends_of_the_power(isa):
    """Its gate is closed here, so that z is the product with its sign."""
    x = torch.tensor([[[3.0, -8.0], [-2.0, -4.0], [1e9, 1e9], [-1e9, 1e9]]], dtype=torch.float64)
    weight = columns([0] * 2, [0] * 2, [LARGE] * 2, [LARGE] * 2, [-LARGE])
    expected = torch.tensor([[[-24.0], [8.0], [math.exp(20)], [-math.exp(20)]]], dtype=torch.float64)
    torch.testing.assert_close(ops.inalu(x, weight), expected, rtol=1e-12, atol=0)
    y, dx, dweight = results(ops.inalu, [x, weight])
    exact = results(lambda *leaves: reference.inalu(*leaves, 1e-7), [x, weight])
    assert (dx[0, 2:] == 0).all()
    for mine, true in zip((y, dx, dweight), exact, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)
    zero = columns([0] * 2, [0] * 2, [-1] * 2, [LARGE] * 2, [0.0])
    assert ops.inalu(torch.zeros(1, 3, 2, dtype=torch.float64), zero).isfinite().all()


def test_the_modules_pass_their_parameters_and_options_on():
    x = torch.rand(5, 2) - 0.5
    for layer, op, options in (
        (nn.NALU(2, 3, epsilon=0.25), ops.nalu, (0.25,)),
        (nn.NALU(2, 3, epsilon=0.25, shared=False), ops.nalu_separate, (0.25,)),
        (nn.NALU(2, 3, units="nau-nmu"), ops.nalu_nau_nmu, ()),
        (nn.GNALU(2, 3, epsilon=0.25), ops.gnalu, (0.25,)),
        (nn.INALU(2, 3, epsilon=0.25), ops.inalu, (0.25,)),
    ):
        parts = [p if p.dim() == 2 else p[:, None] for p in (getattr(layer, name) for name in layer.tensors)]
        assert torch.equal(layer(x), op(x[None], torch.cat(parts, dim=-1)[None], *options)[0])
    with pytest.raises(ValueError, match=r"NALU: units is 'nmu'; needs one of 'nac', 'nau-nmu'"):
        nn.NALU(2, 3, units="nmu")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"NALU: shared is True; needs one of None, False"):
        nn.NALU(2, 3, units="nau-nmu", shared=True)


def test_nau_and_nmu_under_a_gate_have_their_own_penalties_and_clamps():
    layer = nn.NALU(3, 2, units="nau-nmu", penalty=4.0, models=2)
    expected = 4 * sum(
        reference.discretisation(getattr(layer, name), kind)
        for name, kind in (("weight", "ternary"), ("mul_weight", "unit"))
    )
    torch.testing.assert_close(layer.regularizer(0.5), 0.5 * expected)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(20).sub_(5)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.clamp_()
    assert torch.equal(layer.weight, before["weight"].clamp(-1, 1))
    assert torch.equal(layer.mul_weight, before["mul_weight"].clamp(0, 1))
    assert torch.equal(layer.gate, before["gate"])


def test_the_inalus_penalty_draws_every_number_beyond_twenty():
    layer = nn.INALU(3, 2, models=2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(-15.0)
        layer.gate[1] = 25.0
    torch.testing.assert_close(layer.regularizer(), torch.tensor([0.05 * 25, 0.05 * 20]))
    torch.testing.assert_close(layer.regularizer(ramp=0.5), torch.tensor([0.025 * 25, 0.025 * 20]))
    drawn = nn.INALU(10, 1, models=2000).state_dict()
    for name, value in drawn.items():
        mean = {"gate": 0.0, "m_hat": 0.5, "mul_m_hat": 0.5}.get(name, 0.88)
        assert abs(value.mean().item() - mean) < 5 * 0.2 / math.sqrt(value.numel())
        assert abs(value.std().item() / 0.2 - 1) < 5 / math.sqrt(2 * value.numel())
