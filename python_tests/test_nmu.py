"""What is special to the neural multiplication unit; the rest is in test_layers.py and test_modules.py."""

import pytest
import torch

from mathkernels.ops import nmu
from mathkernels.reference.nmu import nmu as reference
from mathkernels.testing import results


def test_whole_weights_multiply_exactly(isa):
    x = torch.tensor([[[3.0, 5.0, 0.5], [-2.0, 7.0, 4.0]]])
    weight = torch.tensor([[[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]])
    assert nmu(x, weight).tolist() == [[[1.5, 7.5, 1.0], [-8.0, -56.0, 1.0]]]


@pytest.mark.parametrize("zeros", [1, 2])
def test_factors_of_exactly_zero_have_the_right_gradient(zeros, isa):
    """A product without one factor must not be formed by dividing through it."""
    x = torch.rand(1, 40, 4, dtype=torch.float64) + 1
    x[..., :zeros] = 0
    weight = torch.full((1, 2, 4), 0.5, dtype=torch.float64)
    weight[..., :zeros] = 1  # the factor 1 * 0 + 1 - 1
    ours, exact = results(nmu, [x, weight]), results(reference, [x, weight])
    assert (ours[0] == 0).all()
    assert (ours[2][..., 0] != 0).all() == (zeros == 1)
    for mine, true in zip(ours, exact, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)


def test_many_inputs_do_not_overflow_the_scratch(isa):
    x, weight = torch.rand(1, 33, 701) + 0.5, torch.rand(1, 2, 701)
    # 701 float32 factors in two orders: at most 1,400 roundings of 6e-8, and what factors lose near 0
    torch.testing.assert_close(nmu(x, weight), reference(x, weight), rtol=1e-3, atol=0)
