"""What is special to the NAC, NAC., NAC-sigma and NAC-NMU; else test_layers.py and test_modules.py."""

import math

import torch

from mathkernels import nn, ops, reference
from mathkernels.initial import accumulator_bound
from mathkernels.testing import results

LARGE = 40.0  # tanh(40) and sigmoid(40) are 1 in float64


def test_saturated_weights_add_and_subtract_exactly(isa):
    x = torch.tensor([[[1.0, 2.0, 4.0], [-1.0, 0.5, 8.0]]])
    weight_hat = torch.tensor([[[LARGE, 0.0, -LARGE], [LARGE, LARGE, LARGE]]])
    weight = torch.cat([weight_hat, torch.full_like(weight_hat, LARGE)], dim=-1)
    assert ops.nac(x, weight).tolist() == [[[-3.0, 7.0], [-9.0, 7.5]]]


def test_saturated_weights_multiply_and_divide_magnitudes(isa):
    x = torch.tensor([[[3.0, -8.0], [-2.0, 4.0]]], dtype=torch.float64)
    weight_hat = torch.tensor([[[LARGE, -LARGE], [LARGE, LARGE]]], dtype=torch.float64)
    weight = torch.cat([weight_hat, torch.full_like(weight_hat, LARGE)], dim=-1)
    expected = torch.tensor([[[0.375, 24], [0.5, 8]]], dtype=torch.float64)
    # exp of a sum of logarithms up to 3.2: some ULP of it, 2.2e-16 each
    torch.testing.assert_close(ops.nac_mul(x, weight, 0.0), expected, rtol=1e-14, atol=0)
    sigma = torch.full_like(weight_hat, LARGE)
    torch.testing.assert_close(ops.nac_sigma(x, sigma, 0.0)[..., 1], expected[..., 1], rtol=1e-14, atol=0)
    whole = torch.tensor([[[1.0, -1.0], [1.0, 1.0]]], dtype=torch.float64)
    torch.testing.assert_close(ops.nac_nmu(x, whole, 0.0), expected, rtol=1e-14, atol=0)


def test_an_input_of_zero_has_finite_gradients_and_none_of_its_own(isa):
    x, weight = torch.rand(1, 40, 3) + 1, torch.rand(1, 2, 3)
    x[..., 1] = 0.0
    ours = results(ops.nac_nmu, [x, weight])
    exact = results(lambda *leaves: reference.nac_nmu(*leaves, 1e-7), [x, weight])
    assert all(tensor.isfinite().all() for tensor in ours)
    assert (ours[1][..., 1] == 0).all()
    for mine, true in zip(ours, exact, strict=True):
        # the logarithm of 1e-7 is 16: an error of a few ULP in it is one of 16 times as many in the power
        torch.testing.assert_close(mine, true, rtol=1e-4, atol=1e-5 * true.abs().max().item())


def test_the_modules_pass_their_parameters_and_options_on():
    x = torch.rand(5, 2) - 0.5
    for make, op in ((nn.NACMul, ops.nac_mul), (nn.NACSigma, ops.nac_sigma), (nn.NACNMU, ops.nac_nmu)):
        layer = make(2, 3, epsilon=0.25)
        weight = torch.cat(list(layer.parameters()), dim=-1)[None]
        assert torch.equal(layer(x), op(x[None], weight, 0.25)[0])
    layer = nn.NAC(2, 3)
    assert torch.equal(
        layer(x), ops.nac(x[None], torch.cat([layer.weight_hat, layer.m_hat], dim=-1)[None])[0]
    )


def test_initial_weights_have_the_variance_of_glorot():
    for inputs, outputs in ((2, 1), (10, 1), (100, 100)):
        bound = accumulator_bound(inputs, outputs)
        layer = nn.NAC(inputs, outputs, models=40_000 // (inputs * outputs) + 1)
        tensors = layer.weight_hat.detach().double(), layer.m_hat.detach().double()
        for tensor in tensors:
            assert 0.99 * bound < tensor.max() <= bound
            assert -bound <= tensor.min() < -0.99 * bound
        weight = tensors[0].tanh() * tensors[1].sigmoid()
        wanted = 2 / max(inputs + outputs, 5)
        # the variance of n numbers whose fourth moment is below 3 variances squared deviates by sqrt(2 / n)
        assert abs(weight.var().item() / wanted - 1) < 5 * math.sqrt(2 / weight.numel())
    sigma = nn.NACSigma(10, 1, models=4000).weight_hat.detach()
    assert abs(sigma.var().item() / (2 / 11) - 1) < 5 * math.sqrt(2 / sigma.numel())


def test_accumulators_have_no_penalty_and_no_clamp():
    layer = nn.NACMul(3, 2, models=4)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.clamp_()
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert layer.regularizer().tolist() == [0.0] * 4
