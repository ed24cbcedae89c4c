"""The GRU's own: its reference against torch.nn and autograd, and its gates."""

import pytest
import torch
from sequence_op_cases import Case

from mathkernels import nn, reference

SHAPE = (2, 5, 4, 3, 6, 2)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_reference_is_torchs_gru(bidirectional):
    module = torch.nn.GRU(3, 6, bidirectional=bidirectional, dtype=torch.float64)
    shape = (1, 5, 4, 3, 6, 2 if bidirectional else 1)
    x, *_, h0 = Case("gru").leaves(shape)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    suffixes = ("", "_reverse")[: shape[-1]]
    weights = [torch.stack([getattr(module, f"{n}_l0{s}") for s in suffixes])[None] for n in names]
    y, hn, _ = reference.gru(x, *weights, h0)
    for found, exact in zip((y, hn), module(x[0], h0[0]), strict=True):
        torch.testing.assert_close(found[0], exact, rtol=1e-12, atol=1e-12)  # five steps in float64


@pytest.mark.parametrize("case", [Case("gru"), Case("gru", lengths=True)], ids=lambda case: case.id)
def test_the_references_backward_is_what_autograd_says(case):
    leaves = [leaf.requires_grad_() for leaf in case.leaves(SHAPE)]
    given = case.arguments(SHAPE, leaves)
    y, hn, gates = reference.gru(*given)
    arrived = [torch.randn_like(result) for result in (y, hn)]
    expected = torch.autograd.grad([y, hn], leaves, arrived)
    found = reference.gru_backward(*arrived, *given, y, gates)
    for ours, exact in zip(found, expected, strict=True):
        # float64: some tens of roundings in another order, carried through a few steps
        torch.testing.assert_close(ours, exact, rtol=1e-12, atol=1e-12)
    assert not any(gradient.any() for gradient in reference.gru_backward(None, None, *given, y, gates))


@pytest.mark.parametrize("index", range(2), ids=["y", "hn"])
def test_each_result_alone_gives_the_references_gradients(index):
    case = Case("gru", lengths=True)
    leaves = [leaf.requires_grad_() for leaf in case.leaves(SHAPE)]
    ours, exact = (
        torch.autograd.grad(function(*leaves)[index].sin().sum(), leaves)
        for function in (case.function(SHAPE), case.reference(SHAPE))
    )
    for found, expected in zip(ours, exact, strict=True):
        # float64: some tens of roundings in another order, carried through a few steps
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_gates_keep_replace_and_reset_the_state():
    module = nn.GRU(1, 1, dtype=torch.float64)
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    module.weight_ih_l0.data[2] = 1.0  # n = tanh(x + r (2 h + 1))
    module.weight_hh_l0.data[2], module.bias_hh_l0.data[2] = 2.0, 1.0
    x, h0 = torch.randn(1, 3, 1, dtype=torch.float64), torch.randn(1, 3, 1, dtype=torch.float64)
    for r, z, expected in [
        (50.0, -50.0, torch.tanh(x + 2 * h0 + 1)),
        (-50.0, -50.0, torch.tanh(x)),
        (50.0, 50.0, h0),
    ]:
        module.bias_ih_l0.data[:2] = torch.tensor([r, z], dtype=torch.float64)
        torch.testing.assert_close(module(x, h0)[0], expected, rtol=1e-12, atol=1e-12)
