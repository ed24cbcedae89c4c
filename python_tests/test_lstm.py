"""The LSTM's own: its reference against torch.nn and autograd, and its cells."""

import pytest
import torch
from sequence_op_cases import Case, assert_same_bits

from mathkernels import nn, ops, reference

SHAPE = (2, 5, 4, 3, 6, 2)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_reference_is_torchs_lstm(bidirectional):
    module = torch.nn.LSTM(3, 6, bidirectional=bidirectional, dtype=torch.float64)
    shape = (1, 5, 4, 3, 6, 2 if bidirectional else 1)
    x, *_, h0, c0 = Case("lstm").leaves(shape)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    suffixes = ("", "_reverse")[: shape[-1]]
    weights = [torch.stack([getattr(module, f"{n}_l0{s}") for s in suffixes])[None] for n in names]
    y, hn, cn, cells, _ = reference.lstm(x, *weights, h0, c0)
    expected, (last_h, last_c) = module(x[0], (h0[0], c0[0]))
    for found, exact in zip((y, hn, cn), (expected, last_h, last_c), strict=True):
        torch.testing.assert_close(found[0], exact, rtol=1e-12, atol=1e-12)  # five steps in float64
    torch.testing.assert_close(cells[0, -1, :, :6], last_c[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [Case("lstm"), Case("lstm", lengths=True)], ids=lambda case: case.id)
def test_the_references_backward_is_what_autograd_says(case):
    leaves = [leaf.requires_grad_() for leaf in case.leaves(SHAPE)]
    given = case.arguments(SHAPE, leaves)
    y, hn, cn, cells, gates = reference.lstm(*given)
    arrived = [torch.randn_like(result) for result in (y, hn, cn, cells)]
    expected = torch.autograd.grad([y, hn, cn, cells], leaves, arrived)
    found = reference.lstm_backward(*arrived, *given, y, cells, gates)
    for ours, exact in zip(found, expected, strict=True):
        # float64: some tens of roundings in another order, carried through a few steps
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)
    absent = reference.lstm_backward(None, None, None, None, *given, y, cells, gates)
    assert not any(gradient.any() for gradient in absent)


@pytest.mark.parametrize("index", range(4), ids=["y", "hn", "cn", "cells"])
def test_each_result_alone_gives_the_references_gradients(index):
    case = Case("lstm", lengths=True)
    leaves = [leaf.requires_grad_() for leaf in case.leaves(SHAPE)]
    gradients = []
    for function in (case.function(SHAPE), case.reference(SHAPE)):
        result = function(*leaves)[index]
        gradients.append(torch.autograd.grad(result.sin().sum(), leaves, allow_unused=True))
    for ours, exact in zip(*gradients, strict=True):
        expected = torch.zeros_like(ours) if exact is None else exact
        # float64: some tens of roundings in another order, carried through a few steps
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_cells_are_returned_with_and_without_gradients_and_are_0_behind_the_end():
    case = Case("lstm", lengths=True)
    leaves = case.leaves(SHAPE, torch.float32)
    *_, lengths = given = case.arguments(SHAPE, leaves)
    y, hn, cn, cells = ops.lstm(*given, return_cells=True)
    assert len(ops.lstm(*given)) == 3
    given[1] = given[1].requires_grad_()
    assert_same_bits(ops.lstm(*given, return_cells=True), (y, hn, cn, cells))
    behind = torch.arange(5)[None, :, None] >= lengths[:, None]
    assert (cells[behind] == 0).all()
    assert (cells[~behind] != 0).all()
    last = cells[0, lengths[0, 1] - 1, 1, :6]
    assert torch.equal(last, cn[0, 0, 1])


def test_a_gate_that_never_forgets_adds_up():
    """With all gates open and g = tanh(x), cells are running sums; with the forget gate shut, the last g."""
    module = nn.LSTM(1, 1, dtype=torch.float64)
    torch.nn.init.zeros_(module.weight_hh_l0)
    module.weight_ih_l0.data = torch.tensor([[0.0], [0.0], [1.0], [0.0]], dtype=torch.float64)
    x = torch.randn(6, 2, 1, dtype=torch.float64)
    torch.nn.init.zeros_(module.bias_hh_l0)
    for forget, expected in [(50.0, torch.tanh(x).cumsum(0)), (-50.0, torch.tanh(x))]:
        module.bias_ih_l0.data = torch.tensor([50.0, forget, 0.0, 50.0], dtype=torch.float64)
        y, _, (cells,) = module(x, return_cells=True)
        torch.testing.assert_close(cells, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(y, torch.tanh(expected), rtol=1e-12, atol=1e-12)
