"""Initial values: widths, descriptions, and what Keras and chrono give LSTMs."""

from __future__ import annotations

import math

import pytest
import torch

from mathkernels import initial
from mathkernels.initial import chrono, keras

LSTM = {
    "lstm.weight_ih_l0": (400, 2),
    "lstm.weight_hh_l0": (400, 100),
    "lstm.bias_ih_l0": (400,),
    "lstm.bias_hh_l0": (400,),
    "norm.weight": (100,),
    "norm.bias": (100,),
    "output.weight": (1, 100),
    "output.bias": (1,),
    "norm.running_mean": (100,),
    "norm.running_var": (100,),
}


def drawn(seed=0, **options):
    return keras.draw(LSTM, torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_first_values_are_those_of_keras(dtype):
    values = drawn(dtype=dtype)
    assert {name: tuple(own.shape) for name, own in values.items()} == LSTM
    assert {own.dtype for own in values.values()} == {dtype}
    weight_hh = values["lstm.weight_hh_l0"].double()
    # a float32 factorisation: columns are orthogonal to some ULP times the root of 400 rows
    torch.testing.assert_close(weight_hh.T @ weight_hh, torch.eye(100).double(), rtol=0, atol=1e-5)
    for name, fans in (("lstm.weight_ih_l0", 402), ("output.weight", 101)):
        limit = math.sqrt(6 / fans)
        assert 0.9 * limit < values[name].abs().max() <= limit
    gates = values["lstm.bias_ih_l0"].reshape(4, 100)
    assert torch.equal(gates, torch.tensor([0.0, 1, 0, 0], dtype=dtype)[:, None].expand(4, 100))
    for name in ("lstm.bias_hh_l0", "norm.bias", "output.bias", "norm.running_mean"):
        assert not values[name].any(), name
    for name in ("norm.weight", "norm.running_var"):
        assert (values[name] == 1).all(), name


def test_a_seed_decides_what_is_drawn():
    one, same, other = drawn(1), drawn(1), drawn(2)
    for name in ("lstm.weight_ih_l0", "lstm.weight_hh_l0", "output.weight"):
        assert torch.equal(one[name], same[name])
        assert not torch.equal(one[name], other[name])


def test_chrono_biases_remember_up_to_the_longest_time():
    bias, source = torch.full((20_000,), 7.0), torch.Generator().manual_seed(3)
    i, f, g, o = chrono.set_biases_(bias, 400, source).reshape(4, 5000)
    assert torch.equal(i, -f)
    assert (g == 7).all()
    assert (o == 7).all()
    memory = f.exp()
    assert 1 <= memory.min() < 3
    assert 397 < memory.max() <= 399.01
    assert abs(memory.mean() - 200) < 5 * 398 / math.sqrt(12 * 5000)  # uniform, five deviations


def test_widths_give_the_variances_of_their_papers():
    assert initial.glorot_bound(3, 5) ** 2 / 3 == pytest.approx(2 / 8)
    assert initial.glorot_deviation(3, 5) ** 2 == pytest.approx(2 / 8)
    assert initial.he_bound(5) ** 2 / 3 == pytest.approx(2 / 5)
    assert initial.constrained_bound(2, 1) == 0.5
    assert initial.constrained_bound(50, 50) == initial.glorot_bound(50, 50)


def test_a_description_draws_torchs_stream():
    def fresh():
        return torch.empty(3, 4), torch.Generator().manual_seed(5)

    values, source = fresh()
    same, again = fresh()
    assert torch.equal(
        initial.draw_(values, initial.Uniform(-2, 3), source), same.uniform_(-2, 3, generator=again)
    )
    assert torch.equal(
        initial.draw_(values, initial.Normal(1, 2), source), same.normal_(1, 2, generator=again)
    )
    before = source.get_state()
    assert (initial.draw_(values, 0.25, source) == 0.25).all()
    assert torch.equal(source.get_state(), before)
