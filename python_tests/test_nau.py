"""What is special to the neural addition unit; the rest is in test_layers.py and test_modules.py."""

import torch

from mathkernels.ops import nau
from mathkernels.reference.nau import nau as reference
from mathkernels.testing import results


def test_whole_weights_add_and_subtract_exactly(isa):
    x = torch.tensor([[[1.0, 2.0, 4.0], [-1.0, 0.5, 8.0]]])
    weight = torch.tensor([[[1.0, 0.0, -1.0], [1.0, 1.0, 1.0]]])
    assert nau(x, weight).tolist() == [[[-3.0, 7.0], [-9.0, 7.5]]]


def test_weights_beyond_one_act_as_one_and_get_no_gradient(isa):
    x, weight = torch.rand(1, 40, 5) + 1, torch.tensor([[[-1.5, -1.0, 0.0, 1.0, 2.0]]])
    ours, exact = results(nau, [x, weight]), results(reference, [x, weight])
    assert torch.equal(nau(x, weight), nau(x, weight.clamp(-1, 1)))
    assert (ours[2] == 0).tolist() == [[[True, False, False, False, True]]]
    torch.testing.assert_close(ours[2], exact[2])


def test_equals_a_matrix_product_inside_the_clamp(isa):
    x, weight = torch.randn(2, 70, 9, dtype=torch.float64), torch.rand(2, 4, 9, dtype=torch.float64)
    torch.testing.assert_close(nau(x, weight), x @ weight.mT)
