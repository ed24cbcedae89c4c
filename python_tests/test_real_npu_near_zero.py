"""The Real NPU takes logarithms of inputs near 0, so it must not round them on the way."""

import pytest
import torch

from mathkernels import ops, reference

EPSILON = 2.0**-23


@pytest.mark.parametrize("largest", [1.0, 1e-1, 1e-2, 1e-3, 1e-4])
def test_a_quotient_of_small_inputs_keeps_its_relative_precision(largest):
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(1, 2000, 2, generator=draw) * largest
    weight, gate = torch.tensor([[[1.0, -1.0]]]), torch.ones(1, 2)
    exact = reference.real_npu(x.double(), weight.double(), gate.double(), EPSILON)

    def error(y):
        return ((y - exact) / exact).abs().max()

    got, torch_too = ops.real_npu(x, weight, gate, EPSILON), reference.real_npu(x, weight, gate, EPSILON)
    assert error(got) <= 2 * error(torch_too) + 4 * torch.finfo(torch.float32).eps
