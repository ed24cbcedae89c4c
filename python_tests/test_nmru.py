"""What is special to the neural multiplicative reciprocal unit; else test_layers.py and test_modules.py."""

import pytest
import torch

from mathkernels import nn
from mathkernels.ops import nmru, nmru_gated
from mathkernels.reference.nmru import nmru as reference
from mathkernels.testing import results

EPSILON = 2.0**-23


@pytest.mark.parametrize("sign_retrieval", [True, False])
def test_whole_weights_multiply_and_divide_with_their_signs(sign_retrieval, isa):
    x = torch.tensor([[[3.0, 8.0], [-2.0, 4.0], [-3.0, -2.0]]], dtype=torch.float64)
    weight = torch.tensor([[[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]]], dtype=torch.float64)
    expected = torch.tensor([[[0.375, 24, 1 / 3], [-0.5, -8, -0.5], [1.5, 6, -1 / 3]]], dtype=torch.float64)
    found = nmru(x, weight, EPSILON, False, sign_retrieval)
    # a product of some factors, each off by an ULP or two of 2.2e-16
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_epsilon_acts_in_training_only(isa):
    x, weight = torch.zeros(1, 3, 1), torch.tensor([[[0.0, 1.0]]])
    assert nmru(x, weight, EPSILON, True).tolist() == [[[2.0**23]] * 3]
    assert nmru(x, weight, EPSILON, False).isinf().all()
    x = torch.rand(1, 9, 2, dtype=torch.float64) + 0.5
    weight = torch.rand(1, 1, 4, dtype=torch.float64)
    assert torch.equal(nmru(x, weight, 0.0, True), nmru(x, weight, EPSILON, False))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sign_retrieval", [True, False])
def test_factors_of_exactly_zero_have_the_right_gradient(training, sign_retrieval, isa):
    x = torch.rand(1, 40, 2, dtype=torch.float64) + 1
    weight = torch.full((1, 1, 4), 0.5, dtype=torch.float64)
    x[..., 0], weight[..., 0] = -1.0, 0.5  # u w + 1 - w = 0 without retrieval
    weight[..., 1] = 1.0
    x[..., 1] = 1.0
    options = EPSILON, training, sign_retrieval
    ours = results(lambda *t: nmru(*t, *options), [x, weight])
    exact = results(lambda *t: reference(*t, *options), [x, weight])
    assert (ours[0] == 0).all() == (not sign_retrieval)
    for mine, true in zip(ours, exact, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)


def test_the_module_passes_its_options_on():
    x = torch.rand(5, 2) - 0.5
    for sign_retrieval in (True, False):
        layer = nn.NMRU(2, 3, sign_retrieval=sign_retrieval, epsilon=0.25)
        weight = layer.weight[None]
        assert torch.equal(layer.train()(x), nmru(x[None], weight, 0.25, True, sign_retrieval)[0])
        assert torch.equal(layer.eval()(x), nmru(x[None], weight, 0.25, False, sign_retrieval)[0])
    with pytest.raises(ValueError, match="NMRU: epsilon is -1; needs a finite number of at least 0"):
        nn.NMRU(2, 3, epsilon=-1)
    with pytest.raises(ValueError, match="NMRU: sign_retrieval is 'yes'; needs one of True, False"):
        nn.NMRU(2, 3, sign_retrieval="yes")


def test_open_gates_change_nothing_and_closed_ones_leave_the_input_out(isa):
    x, weight = torch.randn(2, 40, 3, dtype=torch.float64), torch.rand(2, 4, 6, dtype=torch.float64)
    gate = torch.ones(2, 6, dtype=torch.float64)
    torch.testing.assert_close(nmru_gated(x, weight, gate), nmru(x, weight))
    gate[:, 1] = gate[:, 4] = 0.0
    without = torch.tensor([0, 2])
    rest = nmru(x[..., without], weight[..., [0, 2, 3, 5]])
    closed = ((1 - weight[..., 1]) * (1 - weight[..., 4]))[:, None]
    torch.testing.assert_close(nmru_gated(x, weight, gate), rest * closed)


def test_the_gated_module_has_a_second_parameter_penalty_and_clamp():
    layer, x = nn.NMRU(2, 3, gated=True, epsilon=0.25, gate_penalty=3.0), torch.rand(5, 2) - 0.5
    assert (layer.gate == 0.5).all()
    found = nmru_gated(x[None], layer.weight[None], layer.gate[None], 0.25, True)[0]
    assert torch.equal(layer(x), found)
    plain = nn.NMRU(2, 3)
    plain.load_state_dict({"weight": layer.weight})
    torch.testing.assert_close(layer.regularizer(0.1) - plain.regularizer(0.1), torch.tensor(0.1 * 3 * 0.5))
    with torch.no_grad():
        layer.gate.fill_(-2.0)
    layer.clamp_()
    assert (layer.gate == 0).all()
    with pytest.raises(ValueError, match="NMRU: gated is True; needs one of False"):
        nn.NMRU(2, 3, sign_retrieval=False, gated=True)
