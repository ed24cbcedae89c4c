"""What is special to the neural reciprocal unit; the rest is in test_layers.py and test_modules.py."""

import pytest
import torch

from mathkernels import nn
from mathkernels.ops import nru, nru_separate
from mathkernels.reference.nru import nru as reference
from mathkernels.reference.nru import nru_separate as nru_separate_reference
from mathkernels.testing import assert_no_worse_than, results


@pytest.mark.parametrize("training", [True, False])
def test_whole_weights_multiply_and_divide(training, isa):
    x = torch.tensor([[[3.0, 8.0, 0.5], [-2.0, 4.0, 7.0]]], dtype=torch.float64)
    weight = torch.tensor([[[1.0, -1.0, 0.0], [-1.0, 0.0, 0.0]]], dtype=torch.float64)
    expected = torch.tensor([[[0.375, 1 / 3], [-0.5, -0.5]]], dtype=torch.float64)
    # exact powers, multiplied: a few ULP of 2.2e-16
    torch.testing.assert_close(nru(x, weight, training), expected, rtol=1e-15, atol=0)


def test_the_gates_slope_near_zero_weights_is_that_of_the_reference(isa):
    """T' = 2000 tanh(1000 w)(1 - T) peaks at |w| = 6.6e-4 and is the larger part of the gradient there."""
    x = torch.rand(1, 50, 3, dtype=torch.float64) + 0.5
    weight = torch.tensor([[[6.6e-4, -2e-3, 1e-4], [0.0, 5e-3, -1e-2]]], dtype=torch.float64)
    for ours, exact in zip(
        results(nru, [x, weight]), results(lambda *t: reference(*t, True), [x, weight]), strict=True
    ):
        torch.testing.assert_close(ours, exact, rtol=1e-10, atol=1e-10)
    assert_no_worse_than(nru, lambda *t: reference(*t, True), [x, weight])


@pytest.mark.parametrize("training", [True, False])
def test_an_input_of_zero_is_zero_and_has_no_slope(training, isa):
    x = torch.tensor([[[0.0, 2.0]] * 35], dtype=torch.float64)
    weight = torch.tensor([[[0.7, 0.9]]], dtype=torch.float64)
    ours = results(lambda *t: nru(*t, training), [x, weight])
    exact = results(lambda *t: reference(*t, training), [x, weight])
    for mine, true in zip(ours, exact, strict=True):
        # float64: powers by libm, and sums over 35 rows in another order
        torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)
    assert (ours[1][..., 0] == 0).all()


def test_an_input_of_zero_under_a_negative_weight_is_nan_as_in_the_papers_code(isa):
    y = nru(torch.tensor([[[0.0, 2.0], [1.0, 2.0]]]), torch.tensor([[[-1.0, 1.0]]]))
    assert y.isnan().tolist() == [[[True], [False]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("op", [nru, nru_separate])
def test_a_weight_of_zero_has_no_input_slope_where_another_factor_is_not_finite(op, training, dtype, isa):
    plain = reference if op is nru else nru_separate_reference
    x = torch.tensor([[[1.3, 0.0]] * 35], dtype=dtype)
    weight = torch.tensor([[[0.0, -1.0], [0.5, 0.74]]], dtype=dtype)
    ours, theirs = (results(lambda *t, f=f: f(*t, training), [x, weight])[1] for f in (op, plain))
    assert theirs[..., 0].isfinite().all()
    torch.testing.assert_close(ours[..., 0], theirs[..., 0])


def test_the_module_switches_its_gate_with_its_mode():
    layer, x = nn.NRU(2, 1, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64) + 0.5
    weight = layer.weight[None]
    assert torch.equal(layer.train()(x), nru(x[None], weight, True)[0])
    assert torch.equal(layer.eval()(x), nru(x[None], weight, False)[0])
    assert not torch.equal(layer.train()(x), layer.eval()(x))


@pytest.mark.parametrize("training", [True, False])
def test_separate_signs_are_those_of_the_rounded_weights(training, isa):
    x, weight = torch.randn(2, 40, 3, dtype=torch.float64), torch.rand(2, 4, 3, dtype=torch.float64) * 2 - 1
    odd = weight.round()[:, None] != 0
    signs = torch.where(odd, x.sign()[:, :, None], 1.0).prod(-1)
    torch.testing.assert_close(nru_separate(x, weight, training), nru(x.abs(), weight, training) * signs)
    layer = nn.NRU(3, 4, separate_signs=True).train(training)
    single = x[0].float()
    assert torch.equal(layer(single), nru_separate(single[None], layer.weight[None], training)[0])
