"""What is special to the neural power unit; the rest is in test_layers.py and test_modules.py."""

import pytest
import torch

from mathkernels import nn, ops, reference

EPSILON = 2.0**-23


def test_without_an_imaginary_part_it_is_the_real_npu(isa):
    x, weight = torch.randn(2, 50, 3, dtype=torch.float64), torch.randn(2, 4, 3, dtype=torch.float64)
    gate = torch.rand(2, 3, dtype=torch.float64)
    complex_weight = torch.cat([weight, torch.zeros_like(weight)], dim=-1)
    torch.testing.assert_close(ops.npu(x, complex_weight, gate), ops.real_npu(x, weight, gate))


def test_it_is_the_real_part_of_the_complex_power(isa):
    x, weight = torch.randn(1, 50, 3, dtype=torch.float64), torch.randn(1, 2, 6, dtype=torch.float64)
    powers = torch.complex(*weight.chunk(2, dim=-1))[0]
    logarithm = torch.complex(x.abs().log(), torch.pi * (x < 0).double())[0]
    expected = torch.exp(logarithm @ powers.T).real
    torch.testing.assert_close(ops.npu(x, weight, torch.ones(1, 3).double(), 0.0)[0], expected)


def test_the_module_passes_its_parameters_and_options_on():
    layer = nn.NPU(2, 3, epsilon=0.25)
    torch.nn.init.normal_(layer.imaginary)
    x = torch.rand(5, 2) - 0.5
    expected = reference.npu(x[None], layer.weight[None], layer.imaginary[None], layer.gate[None], 0.25)
    torch.testing.assert_close(layer(x), expected[0])
    with pytest.raises(ValueError, match="NPU: clip is 'gw'; needs one of 'none', 'g', 'w', 'i', 'wi'"):
        nn.NPU(2, 3, clip="gw")


def test_the_regularizer_adds_up_its_terms():
    layer = nn.NPU.modified(3, 2, constrain_imaginary=True, models=4)
    torch.nn.init.normal_(layer.imaginary)
    tensors = layer.weight, layer.gate, layer.imaginary
    expected = 0.5 * (
        reference.discretisation(layer.weight, "signed-unit")
        + reference.discretisation(layer.gate, "unit")
        + layer.imaginary.abs().sum((1, 2))
    ) + 0.1 * sum(tensor.abs().flatten(1).sum(1) for tensor in tensors)
    torch.testing.assert_close(layer.regularizer(ramp=0.5, beta=0.1), expected)


@pytest.mark.parametrize("clip", ["none", "w", "ig", "wig"])
def test_clamps_what_clip_names(clip):
    layer = nn.NPU(3, 2, clip=clip)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(-3.0)
    layer.clamp_()
    for name, low, letter in (("weight", -1, "w"), ("imaginary", -1, "i"), ("gate", 0, "g")):
        assert (getattr(layer, name) == (low if letter in clip else -3)).all()
